"""sluice's TLS client against Python's ssl, and against servers that are none."""

import contextlib
import socket
import ssl

from harness import TestCase, main, pattern, receive_to_end, reset, send_what_is_taken
from tls_harness import TlsClient, accept, client_context, exchange, file, identity, listen, server_context

MIB = 1 << 20
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


class PythonTest(TestCase):
    def setUp(self):
        self.listener = self.enter(listen())
        self.port = self.listener.getsockname()[1]

    def start(self, *flags, host="localhost", **options):
        self.client = self.enter(TlsClient(self.port, f"--host={host}", *flags, **options))

    def accept(self, context=None):
        """The server's side of the client's connection."""
        connection = self.enter(accept(self.listener))
        return self.enter((context or server_context()).wrap_socket(connection, server_side=True,
                                                                    suppress_ragged_eofs=False))

    def connect(self, context=None, *flags, **options):
        self.start(*flags, **options)
        server = self.accept(context)
        return server, self.client.expect("open")

    def finish(self, server):
        """An echo, and an orderly end by the server."""
        self.assertEqual(exchange(server, b"the last"), b"the last")
        server.unwrap().close()
        self.client.expect("end")
        return self.client.expect_close()


def of_version(version, name="p256"):
    context = server_context(name)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


class EchoTest(PythonTest):
    def test_bytes_come_back(self):
        for version in VERSIONS:
            server, told = self.connect(of_version(version))
            self.assertEqual(told["version"], version)
            self.assertEqual(exchange(server, b"small"), b"small")
            data = pattern(4 * MIB)
            self.assertTrue(exchange(server, data) == data)
            for i in range(500):
                message = pattern(1 + i * 37 % 20000, seed=i)
                self.assertTrue(exchange(server, message) == message)
            self.finish(server)
            self.assertEqual(self.client.wait(), 0)

    def test_sessions_go_on(self):
        for version in VERSIONS:
            context = of_version(version)
            self.start("--times=5")
            for i in range(5):
                server = self.accept(context)
                told = self.client.expect("open")
                self.assertEqual((told["resumed"] == "1", server.session_reused), (i > 0, i > 0))
                self.finish(server)

    def test_a_session_that_the_server_has_forgotten(self):
        for version in VERSIONS:
            self.start("--times=3")
            for _ in range(3):
                server = self.accept(of_version(version))
                self.assertEqual(self.client.expect("open")["resumed"], "0")
                self.finish(server)

    def test_alpn(self):
        context = server_context()
        context.set_alpn_protocols(["second", "first"])
        server, told = self.connect(context, "--alpn=first,second")
        self.assertEqual((server.selected_alpn_protocol(), told["alpn"]), ("second", "second"))
        self.finish(server)

    def test_the_name_is_told_and_an_address_is_not(self):
        for host, expected in (("localhost", "localhost"), ("one.example.org", "one.example.org"),
                               ("127.0.0.1", None), ("::1", None)):
            names = []
            context = server_context("wildcard" if "example" in host else "p256")
            context.sni_callback = lambda connection, name, _, names=names: names.append(name)
            self.start(host=host)
            if host == "::1":  # the certificate is not for it
                with self.assertRaisesRegex(ssl.SSLError, "(?i)bad.certificate"):
                    self.accept(context).recv(1)
                self.client.expect_failed('the certificate is not for "::1" but for localhost, 127.0.0.1')
            else:
                server = self.accept(context)
                self.client.expect("open")
                self.finish(server)
            self.assertEqual(names, [expected])

    def test_a_certificate_is_shown_to_a_server_that_asks(self):
        for version in VERSIONS:
            context = of_version(version)
            context.load_verify_locations(file("root.pem"))
            context.verify_mode = ssl.CERT_REQUIRED
            server, _ = self.connect(context, identity("client"))
            self.assertEqual(server.getpeercert()["subject"], ((("commonName", "client"),),))
            self.finish(server)


class EndTest(PythonTest):
    def test_the_client_closes(self):
        for version in VERSIONS:
            server, _ = self.connect(of_version(version))
            server.sendall(b"now !close")
            self.assertEqual(exchange(server, b"", count=10), b"now !close")
            self.assertEqual(server.recv(1), b"")
            server.unwrap().close()
            self.client.expect_close()

    def test_a_server_that_ends_without_a_word_is_reported(self):
        for version in VERSIONS:
            server, _ = self.connect(of_version(version))
            self.assertEqual(exchange(server, b"hello"), b"hello")
            server.shutdown(socket.SHUT_RDWR)
            self.assertEqual(self.client.expect_close("DATA_LOSS"), 5)

    def test_a_reset_is_reported(self):
        server, _ = self.connect()
        reset(server)
        self.client.expect_close("UNAVAILABLE")


class NoServerTest(PythonTest):
    def answer(self, data):
        """A server that answers the client's first words with this, and ends; what the client then sent."""
        self.start()
        connection = self.enter(accept(self.listener))
        connection.recv(1 << 16)
        send_what_is_taken(connection, data)
        with contextlib.suppress(OSError):  # the client has gone already
            connection.shutdown(socket.SHUT_WR)
        return receive_to_end(connection)

    def test_plain_http(self):
        self.answer(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        self.client.expect_failed("INVALID_ARGUMENT", "what was received is not TLS")

    def test_garbage(self):
        for data in (b"\0" * 100, b"220 mail.example.org ESMTP\r\n", pattern(3000, seed=5)):
            self.answer(data)
            self.client.expect_failed("INVALID_ARGUMENT")

    def test_an_alert(self):
        self.answer(b"\x15\x03\x03\x00\x02\x02\x28")
        self.client.expect_failed("FAILED_PRECONDITION", 'the peer refused: alert "handshake failure" (40)')

    def test_nothing(self):
        self.answer(b"")
        self.client.expect_failed("UNAVAILABLE", "the peer ended the connection")

    def test_the_middle_of_a_handshake(self):
        # What a real server says, cut.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = server_context().wrap_bio(incoming, outgoing, server_side=True)
        hello_in, hello_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(hello_in, hello_out, server_hostname="localhost")
        self.assertRaises(ssl.SSLWantReadError, client.do_handshake)
        incoming.write(hello_out.read())
        self.assertRaises(ssl.SSLWantReadError, server.do_handshake)
        flight = outgoing.read()
        for size in (1, 5, 60, 100):
            self.answer(flight[:size])
            self.client.expect_failed("UNAVAILABLE", "the peer ended the connection")

    def test_a_server_that_stalls_is_cut_by_the_deadline(self):
        self.start("--handshake_timeout=100ms")
        connection = self.enter(accept(self.listener))
        receive_to_end(connection)
        self.client.expect_failed("DEADLINE_EXCEEDED", "not finished within 100ms")


if __name__ == "__main__":
    main()
