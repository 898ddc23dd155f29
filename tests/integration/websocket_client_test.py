"""A server that behaves badly, to sluice's WebSocket client (websocket_peer connect): what the client's user is told, the
close code that the server gets, and what every client must send."""

import os
import socket
import struct

import wire
from harness import DEADLINE, Process, TestCase, main, pattern, receive_to_end, reset, send_what_is_taken
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame


def server_frame(opcode, payload=b"", **wrong):
    return frame(opcode, payload, **{"masked": False, **wrong})


class ClientTest(TestCase):
    def setUp(self):
        self.listener = self.enter(socket.create_server(("127.0.0.1", 0)))
        self.listener.settimeout(DEADLINE)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def connect(self, *subprotocols, target="/"):
        """A client that has connected, and the server's end of the connection."""
        client = self.enter(Process([os.environ["WEBSOCKET_PEER"], "connect", f"ws://{self.address}{target}",
                                     *subprotocols]))
        connection = self.enter(self.listener.accept()[0])
        connection.settimeout(DEADLINE)
        return client, connection

    def open(self):
        client, connection = self.connect()
        wire.accept_handshake(connection)
        self.assertEqual(client.read_line(), "open\tsubprotocol=")
        return client, connection

    def told(self, client, name):
        event, *words = client.read_line().split("\t")
        self.assertEqual(event, name, words)
        return dict(word.split("=", 1) for word in words)

    def assert_fails(self, client, says):
        """The connection ends without having been open, with this in its status."""
        end = self.told(client, "close")
        self.assertEqual((end["code"], end["clean"]), ("1006", "0"))
        self.assertRegex(end["status"], says)
        self.assertEqual(client.wait(), 0)

    def assert_closes_with(self, code, data):
        client, connection = self.open()
        send_what_is_taken(connection, data)
        self.assertEqual(wire.receive_close(connection, wire.receive_client_frame)[0], code, data[:100])
        receive_to_end(connection)
        connection.close()
        end = self.told(client, "close")
        self.assertEqual((end["code"], end["by"], end["clean"]), (str(code), "sluice", "0"))
        self.assertEqual(client.wait(), 0)


class HandshakeTest(ClientTest):
    def test_the_request_is_what_rfc_6455_asks_for(self):
        client, connection = self.connect("chat", "more", target="/room?name=a%20b")
        head = wire.accept_handshake(connection, Sec_WebSocket_Protocol="more")
        self.assertEqual(client.read_line(), "open\tsubprotocol=more")
        line, *headers = head.strip().split("\r\n")
        self.assertEqual(line, "GET /room?name=a%20b HTTP/1.1")
        headers = dict(header.split(": ", 1) for header in headers)
        self.assertEqual(headers["Host"], self.address)
        self.assertEqual(headers["Upgrade"], "websocket")
        self.assertEqual(headers["Connection"], "Upgrade")
        self.assertEqual(headers["Sec-WebSocket-Version"], "13")
        self.assertEqual(headers["Sec-WebSocket-Protocol"], "chat, more")
        self.assertNotIn("Sec-WebSocket-Extensions", headers)

    def test_answers_that_break_the_protocol(self):
        for changes in [{"Sec_WebSocket_Accept": wire.ACCEPT}, {"Sec_WebSocket_Accept": None}, {"Upgrade": None},
                        {"Upgrade": "h2c"}, {"Connection": None}, {"Sec_WebSocket_Protocol": "not-offered"},
                        {"Sec_WebSocket_Extensions": "permessage-deflate"}]:
            with self.subTest(changes=changes):
                client, connection = self.connect()
                wire.accept_handshake(connection, **changes)
                self.assert_fails(client, "FAILED_PRECONDITION.*" + self.address)

    def test_answers_that_refuse(self):
        for status, says in [("301 Moved Permanently", "FAILED_PRECONDITION"), ("400 Bad Request", "FAILED_PRECONDITION"),
                             ("401 Unauthorized", "PERMISSION_DENIED"), ("404 Not Found", "NOT_FOUND"),
                             ("429 Too Many Requests", "RESOURCE_EXHAUSTED"), ("503 Unavailable", "UNAVAILABLE"),
                             ("200 OK", "FAILED_PRECONDITION")]:
            with self.subTest(status=status):
                client, connection = self.connect()
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                self.assert_fails(client, f"{says}.*{status[:3]}")

    def test_answers_that_are_no_http(self):
        for answer in [b"hello\r\n\r\n", b"\xff" * 100 + b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"]:
            with self.subTest(answer=answer):
                client, connection = self.connect()
                connection.sendall(answer)
                self.assert_fails(client, "FAILED_PRECONDITION")

    def test_an_answer_that_is_too_long(self):
        client, connection = self.connect()
        send_what_is_taken(connection, b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"a" * 20000)
        self.assert_fails(client, "RESOURCE_EXHAUSTED")

    def test_an_answer_that_is_cut_short(self):
        for piece in [b"", b"HTTP/1.1 101 Swi"]:
            client, connection = self.connect()
            connection.sendall(piece)
            connection.close()
            self.assert_fails(client, ".")

    def test_a_reset_instead_of_an_answer(self):
        client, connection = self.connect()
        connection.recv(1)  # the request has come: the client knows that it is connected
        reset(connection)
        self.assert_fails(client, "UNAVAILABLE")

    def test_frames_may_follow_the_answer_in_the_same_segment(self):
        client, connection = self.connect()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        wire.accept_handshake(connection)
        connection.sendall(server_frame(TEXT, b"early"))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        self.assertEqual(client.read_line(), "open\tsubprotocol=")
        self.assertEqual(wire.receive_client_frame(connection)[:2], (TEXT, b"early"))


class FramesTest(ClientTest):
    def test_every_frame_is_masked_with_a_key_of_its_own(self):
        _, connection = self.open()
        keys = set()
        for i in range(50):
            connection.sendall(server_frame(BINARY, pattern(i * 10)) + server_frame(PING, b"p"))
            opcode, payload, key = wire.receive_client_frame(connection)
            self.assertEqual((opcode, payload), (BINARY, pattern(i * 10)))
            keys.add(key)
            opcode, payload, key = wire.receive_client_frame(connection)
            self.assertEqual((opcode, payload), (PONG, b"p"))
            keys.add(key)
        self.assertGreater(len(keys), 95)

    def test_a_masked_frame(self):
        self.assert_closes_with(1002, frame(TEXT, b"x"))

    def test_frames_that_no_peer_may_send(self):
        for data in [server_frame(TEXT, b"x", reserved=4), server_frame(3), server_frame(PING, fin=False),
                     server_frame(PING, b"x" * 126), server_frame(CONTINUATION, b"x"),
                     server_frame(TEXT, b"x", fin=False) + server_frame(TEXT, b"y"),
                     server_frame(BINARY, b"x", length_form=126), server_frame(CLOSE, b"\x03"),
                     server_frame(CLOSE, struct.pack("!H", 1005))]:
            self.assert_closes_with(1002, data)

    def test_text_that_is_not_utf8(self):
        self.assert_closes_with(1007, server_frame(TEXT, b"\xc3") + server_frame(TEXT, b"\xa4"))

    def test_a_message_over_the_limit(self):
        self.assert_closes_with(1009, b"\x82\x7f" + struct.pack("!Q", 1 << 40))

    def test_a_reset_in_the_middle_of_a_message(self):
        client, connection = self.open()
        connection.sendall(server_frame(BINARY, bytes(1000))[:500])
        reset(connection)
        end = self.told(client, "close")
        self.assertEqual((end["code"], end["clean"]), ("1006", "0"))
        self.assertIn("UNAVAILABLE", end["status"])
        self.assertEqual(client.wait(), 0)

    def test_an_end_without_a_close_frame(self):
        client, connection = self.open()
        connection.close()
        end = self.told(client, "close")
        self.assertEqual((end["code"], end["clean"]), ("1006", "0"))
        self.assertEqual(client.wait(), 0)


if __name__ == "__main__":
    main()
