"""Python's ssl against sluice's TLS server: what is easier to say in a program than to openssl s_client. Where bytes
have to be cut or held back, they go through memory (ssl.MemoryBIO) and are written to a socket by the test."""

import socket
import ssl

from harness import DEADLINE, TestCase, main, pattern, receive_to_end, reset, send_what_is_taken
from tls_harness import TlsServer, chain_and_key, client_context, exchange, roots

MIB = 1 << 20
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


def of_version(version, **options):
    context = client_context(**options)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


class PythonTest(TestCase):
    def serve(self, *flags, **options):
        self.server = self.enter(TlsServer(*flags, **options))

    def connect(self, context, host="localhost", session=None):
        """A client, and what the server tells of it."""
        client = self.enter(context.wrap_socket(self.enter(self.server.connect()), server_hostname=host,
                                                session=session, suppress_ragged_eofs=False))
        return client, self.server.expect("open")

    def finish(self, client):
        """An echo, and an orderly end by the client."""
        self.assertEqual(exchange(client, b"the last"), b"the last")
        client.unwrap().close()
        self.server.expect("end")
        return self.server.expect_close()


class EchoTest(PythonTest):
    def test_bytes_come_back(self):
        self.serve()
        for version in VERSIONS:
            client, told = self.connect(of_version(version))
            self.assertEqual((told["version"], told["server_name"]), (version, "localhost"))
            data = pattern(4 * MIB)
            self.assertEqual(exchange(client, b"small"), b"small")
            self.assertTrue(exchange(client, data) == data)
            for i in range(500):
                message = pattern(1 + i * 37 % 20000, seed=i)
                self.assertTrue(exchange(client, message) == message)
            self.finish(client)

    def test_several_connections_at_once(self):
        self.serve(threads=2)
        clients = [self.connect(of_version(version))[0] for version in VERSIONS for _ in range(20)]
        for client in clients:
            client.sendall(pattern(30000, seed=client.fileno()))
        for client in clients:
            expected = pattern(30000, seed=client.fileno())
            self.assertTrue(exchange(client, b"", count=30000) == expected)
        self.assertEqual(self.server.stop()[0], 0)

    def test_a_client_that_does_not_read_is_held_back_and_gets_all_later(self):
        self.serve()
        good, _ = self.connect(client_context())
        client, _ = self.connect(client_context())
        record, pieces = 1 << 14, pattern(MIB)
        client.setblocking(False)
        sent = refused = 0
        # It takes no more when it has served another fifty times meanwhile.
        while sent < 256 * MIB and refused < 50:
            start = sent % MIB
            try:
                self.assertEqual(client.send(pieces[start:start + record]), record)
                sent += record
                refused = 0
            except ssl.SSLWantWriteError:
                self.assertEqual(exchange(good, b"still here?"), b"still here?")
                refused += 1
        self.assertLess(sent, 256 * MIB, "the server does not stop reading")
        # The record that was refused has to be offered again.
        start = sent % MIB
        received = exchange(client, pieces[start:start + record], count=sent + record)
        self.assertTrue(received == (pieces * (sent // MIB + 1))[:len(received)])


class EndTest(PythonTest):
    def test_the_server_closes(self):
        self.serve()
        for version in VERSIONS:
            client, _ = self.connect(of_version(version))
            client.sendall(b"now !close")
            self.assertEqual(exchange(client, b"", count=10), b"now !close")
            self.assertEqual(client.recv(1), b"")  # a close_notify: anything else is an exception
            client.unwrap().close()
            self.server.expect_close()

    def test_the_server_ends_its_half_and_reads_on(self):
        self.serve()
        for version in VERSIONS:
            client, _ = self.connect(of_version(version))
            client.sendall(b"now !shut")
            self.assertEqual(exchange(client, b"", count=9), b"now !shut")
            self.assertEqual(client.recv(1), b"")
            client.sendall(pattern(100000))
            client.unwrap().close()
            self.server.expect("end")
            self.assertEqual(self.server.expect_close(), 100009)

    def test_a_client_that_ends_without_a_word_is_reported(self):
        self.serve()
        for version in VERSIONS:
            client, _ = self.connect(of_version(version))
            self.assertEqual(exchange(client, b"hello"), b"hello")
            client.shutdown(socket.SHUT_RDWR)
            self.assertEqual(self.server.expect_close("DATA_LOSS"), 5)

    def test_a_reset_is_reported(self):
        self.serve()
        client, _ = self.connect(client_context())
        reset(client)
        self.server.expect_close("UNAVAILABLE")

    def test_the_server_drains(self):
        self.serve()
        for version in VERSIONS:
            client, _ = self.connect(of_version(version))
            self.assertEqual(exchange(client, b"hello"), b"hello")
            self.server.terminate()
            self.assertEqual(client.recv(1), b"")
            client.unwrap().close()
            self.assertEqual(self.server.stop()[0], 0)
            self.serve()


class AgreementTest(PythonTest):
    def test_alpn(self):
        self.serve("--alpn=h2,http/1.1")
        for offered, agreed in ((["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (None, None)):
            context = client_context()
            if offered:
                context.set_alpn_protocols(offered)
            client, told = self.connect(context)
            self.assertEqual((client.selected_alpn_protocol(), told["alpn"]), (agreed, agreed or ""))
            self.finish(client)

    def test_the_name_decides_on_the_certificate(self):
        self.serve(identities=["p256", "wildcard", "exact"])
        for host, names in (("localhost", "localhost"), ("one.example.org", "*.example.org"),
                            ("exact.example.org", "exact.example.org"), ("127.0.0.1", "localhost")):
            client, told = self.connect(client_context(), host=host)  # which verifies the name
            self.assertIn(("DNS", names), client.getpeercert()["subjectAltName"])
            self.assertEqual(told["server_name"], "" if host == "127.0.0.1" else host)
            self.finish(client)

    def test_a_client_that_does_not_trust_the_server_is_reported(self):
        self.serve()
        for version in VERSIONS:
            for options, host in (({"trust": "other_root"}, "localhost"), ({}, "example.org")):
                with self.assertRaises(ssl.SSLCertVerificationError):
                    of_version(version, **options).wrap_socket(self.enter(self.server.connect()), server_hostname=host)
                self.server.expect_failed("UNAUTHENTICATED", 'the peer refused: alert "')

    def test_client_certificates(self):
        self.serve("--client_certificates=require", roots())
        for version in VERSIONS:
            for name in ("client", "rsa", "chained"):
                context = of_version(version)
                context.load_cert_chain(*chain_and_key(name))
                client, told = self.connect(context)
                self.assertEqual(told["subjects"].split(";")[0], "CN=" + name)
                self.finish(client)
            for name, why in (("unknown", "its issuer is unknown"), (None, "the client has shown no certificate")):
                context = of_version(version)
                if name:
                    context.load_cert_chain(*chain_and_key(name))
                with self.assertRaises(ssl.SSLError):
                    # In TLS 1.3 the client is done before it is refused.
                    client = self.enter(context.wrap_socket(self.server.connect(), server_hostname="localhost"))
                    client.recv(1)
                self.server.expect_failed("UNAUTHENTICATED", why)


class ResumptionTest(PythonTest):
    def resume(self, context, count):
        """Connects count times, each with the newest session; whether each resumed, and the loops that served."""
        session, resumed, loops = None, [], set()
        for _ in range(count):
            client, told = self.connect(context, session=session)
            self.assertEqual(exchange(client, b"hello"), b"hello")
            session = client.session  # after a read, with which the ticket of TLS 1.3 has come
            self.assertEqual(client.session_reused, told["resumed"] == "1")
            resumed.append(client.session_reused)
            loops.add(told["loop"])
            self.finish(client)
        return resumed, loops

    def test_sessions_go_on_on_every_loop(self):
        self.serve(threads=2)
        for version in VERSIONS:
            resumed, loops = self.resume(of_version(version), 64)
            self.assertEqual(resumed, [False] + [True] * 63, version)
            self.assertEqual(loops, {"0", "1"})  # that one has all of 64 happens once in 2^63 times

    def test_a_session_keeps_the_clients_certificate(self):
        self.serve("--client_certificates=require", roots())
        for version in VERSIONS:
            context = of_version(version)
            context.load_cert_chain(*chain_and_key("client"))
            client, first = self.connect(context)
            self.assertEqual(first["subjects"].split(";")[0], "CN=client")
            self.assertEqual(exchange(client, b"hello"), b"hello")
            session = client.session
            self.finish(client)
            client, told = self.connect(context, session=session)
            self.assertEqual((told["resumed"], told["subjects"]), ("1", first["subjects"]))
            self.finish(client)


class WireTest(PythonTest):
    """What a peer does to the bytes."""

    def tearDown(self):
        self.server.assert_serves()

    def begin(self, version="TLS 1.3"):
        """A client whose bytes go through memory, and the socket."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = of_version(version).wrap_bio(incoming, outgoing, server_hostname="localhost")
        return client, incoming, outgoing, self.enter(self.server.connect())

    def hello(self, version="TLS 1.3"):
        client, _, outgoing, _ = self.begin(version)
        self.assertRaises(ssl.SSLWantReadError, client.do_handshake)
        return outgoing.read()

    def test_one_byte_at_a_time(self):
        self.serve()
        for version in VERSIONS:
            client, incoming, outgoing, connection = self.begin(version)

            def run(step):
                while True:
                    try:
                        result = step()
                        break
                    except ssl.SSLWantReadError:
                        for byte in outgoing.read():
                            connection.sendall(bytes([byte]))
                        incoming.write(connection.recv(1))
                for byte in outgoing.read():
                    connection.sendall(bytes([byte]))
                return result

            run(client.do_handshake)
            self.assertEqual(self.server.expect("open")["version"], version)
            run(lambda: client.write(b"byte by byte"))
            received = b""
            while len(received) < 12:
                received += run(lambda: client.read(100))
            self.assertEqual(received, b"byte by byte")
            run(client.unwrap)
            connection.close()
            self.server.expect("end")
            self.server.expect_close()

    def assert_answered_by_an_alert(self, data, alert, *told):
        connection = self.enter(self.server.connect())
        send_what_is_taken(connection, data)
        answer = receive_to_end(connection)
        self.assertEqual((answer[:1], answer[-2:]), (b"\x15", bytes([2, alert])), answer)
        self.server.expect_failed(*told)

    def test_plain_http(self):
        self.serve()
        for request in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST /x HTTP/1.0\r\n\r\n", b"HEAD / HTTP/1.1\r\n"):
            connection = self.enter(self.server.connect())
            connection.sendall(request)
            receive_to_end(connection)
            self.server.expect_failed("INVALID_ARGUMENT", "plain HTTP was sent where TLS is spoken")

    def test_garbage(self):
        self.serve()
        for data in (b"\0" * 100, b"\xff" * 100, b"SSH-2.0-OpenSSH_9.2\r\n", pattern(5000, seed=3)):
            connection = self.enter(self.server.connect())
            send_what_is_taken(connection, data)
            receive_to_end(connection)
            self.server.expect_failed("INVALID_ARGUMENT")

    def test_a_hello_that_is_damaged(self):
        self.serve()
        hello = self.hello()
        # A record that is too long; a message of another kind.
        self.assert_answered_by_an_alert(hello[:3] + b"\xff\xff" + hello[5:], 22, "INVALID_ARGUMENT")
        self.assert_answered_by_an_alert(hello[:5] + b"\x02" + hello[6:], 10, "INVALID_ARGUMENT")

    def test_application_data_before_the_handshake(self):
        self.serve()
        self.assert_answered_by_an_alert(b"\x17\x03\x03\x00\x05hello", 10, "INVALID_ARGUMENT")

    def test_a_record_that_was_forged(self):
        self.serve()
        for version in VERSIONS:
            client, _ = self.connect(of_version(version))
            self.assertEqual(exchange(client, b"hello"), b"hello")
            raw = self.enter(socket.socket(fileno=client.detach()))
            raw.settimeout(DEADLINE)
            raw.sendall(b"\x17\x03\x03\x00\x40" + b"x" * 64)
            receive_to_end(raw)
            self.assertEqual(self.server.expect_close("DATA_LOSS"), 5)

    def test_a_handshake_that_is_cut_at_any_byte(self):
        self.serve()
        hello = self.hello()
        for size in range(0, len(hello), 7):
            connection = self.enter(self.server.connect())
            connection.sendall(hello[:size])
            connection.shutdown(socket.SHUT_WR)
            receive_to_end(connection)
            self.server.expect_failed("UNAVAILABLE", "the peer ended the connection")

    def test_a_handshake_that_is_reset(self):
        self.serve()
        connection = self.server.connect()
        connection.sendall(self.hello())
        connection.recv(1)
        reset(connection)
        self.server.expect_failed("UNAVAILABLE")

    def test_a_handshake_that_stalls_is_cut_by_the_deadline(self):
        good = self.enter(TlsServer())
        self.serve("--handshake_timeout=100ms")
        for version in VERSIONS:
            hello = self.hello(version)
            for size in (0, 1, 5, 100, len(hello)):
                connection = self.enter(self.server.connect())
                connection.sendall(hello[:size])
                receive_to_end(connection)
                self.server.expect_failed("DEADLINE_EXCEEDED", "not finished within 100ms")
        self.server = good  # the other may find 100 ms too short


if __name__ == "__main__":
    main()
