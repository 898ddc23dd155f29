"""STARTTLS against others: openssl s_client and Python's smtplib as clients, a server of Python's ssl, and attackers."""

import os
import smtplib
import tempfile

from harness import DEADLINE, Process, Server, TestCase, main, pattern, receive_to_end
from tls_harness import (Teller, Tool, accept, client_context, file, identity, listen, roots, server_context)

MIB = 1 << 20


class StartTlsServer(Teller, Server):
    def __init__(self, *flags):
        super().__init__([os.environ["START_TLS_PEER"], "serve", "127.0.0.1:0", identity("p256"), *flags])

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])


class StartTlsClient(Teller, Process):
    def __init__(self, port, *flags):
        super().__init__([os.environ["START_TLS_PEER"], "connect", f"127.0.0.1:{port}", "--host=localhost", roots(),
                          *flags])


class StartTlsTest(TestCase):
    def expect_said(self, *lines, encrypted):
        for line in lines:
            told = self.sluice.expect("said")
            self.assertEqual((told["text"], told["encrypted"]), (line, "1" if encrypted else "0"))

    def smtp(self):
        client = smtplib.SMTP("127.0.0.1", self.sluice.port, local_hostname="client", timeout=DEADLINE)
        return self.enter(client)


class ServerTest(StartTlsTest):
    def setUp(self):
        self.sluice = self.enter(StartTlsServer())

    def tearDown(self):
        status, rest = self.sluice.stop()
        self.assertEqual((status, rest), (0, []))

    def test_openssl(self):
        for version in ("1_2", "1_3"):
            with self.subTest(version=version):
                client = self.enter(Tool(["openssl", "s_client", "-brief", "-connect", self.sluice.address, "-starttls",
                                          "smtp", "-name", "client", "-crlf", "-CAfile", file("root.pem"),
                                          "-verify_return_error", "-verify_hostname", "localhost", "-tls" + version]))
                client.wait_for(b"CONNECTION ESTABLISHED", "errors")
                self.expect_said("EHLO client", "STARTTLS", encrypted=False)
                self.assertEqual(self.sluice.expect("open")["version"], "TLS " + version.replace("_", "."))
                client.write(b"hello\n")
                client.wait_for(b"250 hello\r\n")
                self.expect_said("hello", encrypted=True)
                client.write(b"quit\n")
                client.wait_for(b"221 bye\r\n")
                self.expect_said("quit", encrypted=True)
                self.assertEqual(client.wait()[0], 0)
                self.sluice.expect("close")

    def test_smtplib(self):
        client = self.smtp()
        client.ehlo()
        self.assertTrue(client.has_extn("starttls"))
        self.assertEqual(client.starttls(context=client_context())[0], 220)
        self.expect_said("ehlo client", "STARTTLS", encrypted=False)
        self.sluice.expect("open")
        self.assertEqual(client.ehlo()[0], 250)
        self.assertFalse(client.has_extn("starttls"))
        self.assertEqual(client.noop()[0], 250)
        self.assertEqual(client.quit()[0], 221)
        self.expect_said("ehlo client", "noop", "quit", encrypted=True)
        self.sluice.expect("close")

    def test_commands_that_are_injected_are_refused(self):
        """CVE-2011-0411"""
        with self.sluice.connect() as attacker:
            attacker.sendall(b"STARTTLS\r\nRCPT TO:<me>\r\n")
            answer = receive_to_end(attacker)
            self.assertEqual(answer, b"220 localhost\r\n220 go ahead\r\n")
        self.expect_said("STARTTLS", encrypted=False)
        self.sluice.expect_failed("FAILED_PRECONDITION", "14 bytes were received in clear behind STARTTLS")

    def test_what_is_no_handshake_is_refused(self):
        with self.sluice.connect() as attacker:
            attacker.sendall(b"STARTTLS\r\n")
            received = b""
            while not received.endswith(b"go ahead\r\n"):
                received += attacker.recv(100)
            attacker.sendall(b"RCPT TO:<me>\r\n")
            receive_to_end(attacker)
        self.expect_said("STARTTLS", encrypted=False)
        self.sluice.expect_failed("INVALID_ARGUMENT")

    def test_a_file_comes_in_clear_and_encrypted(self):
        data = pattern(5 * MIB + 1)
        with tempfile.NamedTemporaryFile(dir=os.environ.get("TEST_TMPDIR")) as stored:
            stored.write(data)
            stored.flush()
            for encrypted in (False, True):
                with self.subTest(encrypted=encrypted):
                    client = self.smtp()
                    if encrypted:
                        client.starttls(context=client_context())
                        self.expect_said("ehlo client", "STARTTLS", encrypted=False)
                        self.sluice.expect("open")
                    self.assertEqual(client.docmd("FILE", stored.name), (250, str(len(data)).encode()))
                    self.assertTrue(client.file.read(len(data)) == data)
                    self.expect_said(f"FILE {stored.name}", encrypted=encrypted)
                    self.assertEqual(client.quit()[0], 221)
                    self.expect_said("quit", encrypted=encrypted)
                    self.sluice.expect("close")


class ClientTest(StartTlsTest):
    def setUp(self):
        self.listener = self.enter(listen())
        self.sluice = self.enter(StartTlsClient(self.listener.getsockname()[1]))
        self.connection = self.enter(accept(self.listener))
        self.connection.sendall(b"220 localhost\r\n")
        self.expect_said("220 localhost", encrypted=False)
        self.answer(b"EHLO client\r\n", b"250-localhost\r\n250 STARTTLS\r\n")
        self.expect_said("250-localhost", "250 STARTTLS", encrypted=False)

    def answer(self, question, answer):
        received = b""
        while len(received) < len(question):
            piece = self.connection.recv(len(question) - len(received))
            self.assertTrue(piece, received)
            received += piece
        self.assertEqual(received, question)
        self.connection.sendall(answer)

    def test_python(self):
        self.answer(b"STARTTLS\r\n", b"220 go ahead\r\n")
        self.expect_said("220 go ahead", encrypted=False)
        self.connection = self.enter(server_context().wrap_socket(self.connection, server_side=True))
        self.sluice.expect("open")
        self.answer(b"EHLO client\r\n", b"250 localhost\r\n")
        self.answer(b"NOOP\r\n", b"250 ok\r\n")
        self.answer(b"QUIT\r\n", b"221 bye\r\n")
        self.expect_said("250 localhost", "250 ok", "221 bye", encrypted=True)
        self.connection.unwrap().close()
        self.assertEqual(self.sluice.expect("close")["status"], "OK")
        self.assertEqual(self.sluice.wait(), 0)

    def test_answers_that_are_injected_are_refused(self):
        """CVE-2011-0411, towards a client"""
        self.answer(b"STARTTLS\r\n", b"220 go ahead\r\n250 AUTH PLAIN\r\n")
        self.expect_said("220 go ahead", encrypted=False)
        self.sluice.expect_failed("FAILED_PRECONDITION", "16 bytes were received in clear behind STARTTLS")
        self.assertEqual(receive_to_end(self.connection), b"")
        self.assertEqual(self.sluice.wait(), 0)

    def test_a_server_that_refuses_gets_no_handshake(self):
        self.answer(b"STARTTLS\r\n", b"502 no\r\n")
        self.expect_said("502 no", encrypted=False)
        self.assertEqual(receive_to_end(self.connection), b"")
        self.connection.close()
        self.assertEqual(self.sluice.expect("close")["status"], "OK")


if __name__ == "__main__":
    main()
