"""What `sluice echo --protocol=websocket` answers to requests that are no proper handshake, from sockets and from curl.
After each the server still opens a WebSocket for a good client."""

import select
import shutil
import socket
import subprocess

import wire
from harness import DEADLINE, Sluice, TestCase, main, pattern, receive_to_end, require, reset, send_what_is_taken


class HandshakeTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enter_for_all(Sluice("--protocol=websocket"))

    def tearDown(self):
        self.assert_opens(wire.request())

    def assert_opens(self, request):
        with self.server.connect() as client:
            client.sendall(request)
            status, headers = wire.receive_head(client)
            self.assertEqual((status, headers["sec-websocket-accept"]), (101, wire.ACCEPT))
            self.assertNotIn("sec-websocket-extensions", headers)
            client.sendall(wire.frame(wire.TEXT, b"hello"))
            self.assertEqual(wire.receive_frame(client), (wire.TEXT, b"hello"))

    def answer(self, request):
        """Status and headers of what comes back, after which the server ends the connection."""
        with self.server.connect() as client:
            send_what_is_taken(client, request)
            answer = receive_to_end(client)
        self.assertIn(b"\r\n\r\n", answer)
        return wire.parse_head(answer)

    def assert_refused(self, status, request):
        got, headers = self.answer(request)
        self.assertEqual(got, status, request[:200])
        self.assertIn("close", headers["connection"].split(", "))
        return headers


class AcceptedTest(HandshakeTest):
    def test_header_names_and_tokens_in_any_case(self):
        self.assert_opens(wire.request().replace(b"Upgrade: websocket", b"UPGRADE: WebSocket")
                          .replace(b"Connection: Upgrade", b"connection: keep-alive, uPGRADE"))

    def test_a_request_byte_by_byte(self):
        with self.server.connect() as client:
            for byte in wire.request():
                client.sendall(bytes([byte]))
            self.assertEqual(wire.receive_head(client)[0], 101)

    def test_frames_may_follow_in_the_same_segment(self):
        with self.server.connect() as client:
            client.sendall(wire.request() + wire.frame(wire.TEXT, b"early") + wire.frame(wire.PING, b"p"))
            self.assertEqual(wire.receive_head(client)[0], 101)
            self.assertEqual(wire.receive_frame(client), (wire.TEXT, b"early"))
            self.assertEqual(wire.receive_frame(client), (wire.PONG, b"p"))

    def test_compression_that_is_offered_is_not_taken(self):
        self.assert_opens(wire.request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))


class RefusedTest(HandshakeTest):
    def test_another_version_gets_426_with_the_one_that_is_known(self):
        for version in ["8", "12", "14", "0", "13.0", "abc", None]:
            with self.subTest(version=version):
                headers = self.assert_refused(426, wire.request(Sec_WebSocket_Version=version))
                self.assertEqual(headers["sec-websocket-version"], "13")

    def test_a_request_without_an_upgrade_gets_426(self):
        for request in [wire.request(Upgrade=None, Connection=None), wire.request(Upgrade="h2c"),
                        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]:
            headers = self.assert_refused(426, request)
            self.assertEqual(headers["sec-websocket-version"], "13")
            self.assertEqual(headers["upgrade"].lower(), "websocket")

    def test_a_bad_key_gets_400(self):
        for key in [None, "", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===", "!" * 24,
                    "dGhlIHNhbXBsZSBub25jZTEy"]:
            with self.subTest(key=key):
                self.assert_refused(400, wire.request(Sec_WebSocket_Key=key))

    def test_two_keys_get_400(self):
        self.assert_refused(400, wire.request(sec_websocket_key=wire.KEY))

    def test_other_methods_get_405(self):
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"]:
            self.assert_refused(405, wire.request(f"{method} / HTTP/1.1"))

    def test_other_versions_of_http_get_505(self):
        for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9"]:
            self.assert_refused(505, wire.request(f"GET / {version}"))

    def test_no_host_or_two_get_400(self):
        self.assert_refused(400, wire.request(Host=None))
        self.assert_refused(400, wire.request(host="another"))

    def test_smuggling_gets_400(self):
        self.assert_refused(400, wire.request(Content_Length="5"))
        self.assert_refused(400, wire.request(Transfer_Encoding="chunked"))
        self.assert_refused(400, wire.request(X="a\r\n folded"))
        self.assert_refused(400, wire.request(X="nul\0"))
        self.assert_refused(400, wire.request(X="bare\rreturn"))
        self.assert_refused(400, wire.request(**{"X ": "a space before the colon"}))

    def test_too_much_of_it(self):
        self.assert_refused(414, wire.request("GET /" + "a" * 9000 + " HTTP/1.1"))
        self.assert_refused(431, wire.request(X="a" * 9000))
        self.assert_refused(431, wire.request(**{f"X{i}": "a" for i in range(101)}))
        self.assert_refused(431, wire.request(X="a" * (4 << 20)))

    def test_headers_without_end_are_answered_while_they_go_on(self):
        with self.server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\n")
            while not select.select([client], [], [], 0)[0]:
                client.sendall(b"X-Endless: and on and on\r\n" * 100)
            self.assertEqual(wire.receive_head(client)[0], 431)


class GarbageTest(HandshakeTest):
    def test_what_is_no_http_gets_400(self):
        for garbage in [b"\r\n\r\n", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1 x\r\n\r\n",
                        b"\xff\xfe\x00\x01\r\n\r\n", b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", b":\r\n\r\n",
                        b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"]:
            with self.subTest(garbage=garbage):
                self.assert_refused(400, garbage)

    def test_bytes_at_random_end_the_connection(self):
        for seed in range(30):
            with self.server.connect() as client:
                send_what_is_taken(client, pattern(20000, seed=seed))
                client.shutdown(socket.SHUT_WR)
                answer = receive_to_end(client)
                self.assertTrue(answer == b"" or wire.parse_head(answer)[0] >= 400, answer)

    def test_a_tls_client_hello_ends_the_connection(self):
        with self.server.connect() as client:
            client.sendall(bytes.fromhex("16030100c8010000c40303") + pattern(194))
            client.shutdown(socket.SHUT_WR)
            receive_to_end(client)

    def test_a_handshake_that_is_cut_short_ends_the_connection(self):
        whole = wire.request()
        for length in [0, 1, 3, 16, 40, len(whole) - 2, len(whole) - 1]:
            with self.server.connect() as client:
                client.sendall(whole[:length])
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_to_end(client), b"", length)

    def test_a_reset_within_the_handshake(self):
        whole = wire.request()
        for length in range(0, len(whole), 11):
            client = self.server.connect()
            client.sendall(whole[:length])
            reset(client)

    def test_half_open_handshakes_do_not_hold_up_others(self):
        waiting = [self.enter(self.server.connect()) for _ in range(200)]
        for client in waiting:
            client.sendall(wire.request()[:-1])
        self.assert_opens(wire.request())
        for client in waiting:
            client.sendall(b"\n")
            self.assertEqual(wire.receive_head(client)[0], 101)


class CurlTest(HandshakeTest):
    def curl(self, *arguments):
        """Status and headers of the answer."""
        require(shutil.which("curl"), "curl")
        run = subprocess.run(["curl", "--silent", "--include", "--noproxy", "*", *arguments,
                              f"http://{self.server.address}/"],
                             stdout=subprocess.PIPE, timeout=DEADLINE, check=False)
        self.assertEqual(run.returncode, 0, arguments)
        return wire.parse_head(run.stdout)

    def test_a_plain_request_gets_426(self):
        status, headers = self.curl()
        self.assertEqual((status, headers["sec-websocket-version"]), (426, "13"))

    def test_another_version_gets_426(self):
        status, headers = self.curl("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H",
                                    f"Sec-WebSocket-Key: {wire.KEY}", "-H", "Sec-WebSocket-Version: 8")
        self.assertEqual((status, headers["sec-websocket-version"]), (426, "13"))

    def test_no_key_gets_400(self):
        status, _ = self.curl("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H",
                              "Sec-WebSocket-Version: 13")
        self.assertEqual(status, 400)

    def test_a_post_gets_405(self):
        self.assertEqual(self.curl("--data", "x=1")[0], 405)

    def test_a_head_gets_the_answer_of_a_get_without_its_body(self):
        status, headers = self.curl("--head")
        self.assertEqual((status, headers["upgrade"]), (426, "websocket"))

    def test_http_1_0_gets_505(self):
        self.assertEqual(self.curl("--http1.0")[0], 505)

    def test_a_large_header_gets_431(self):
        self.assertEqual(self.curl("-H", "X: " + "a" * 20000)[0], 431)


if __name__ == "__main__":
    main()
