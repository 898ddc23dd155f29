"""sluice's WebSocket against a real implementation over loopback.

  websocket_interop_test.py ws|websockets|aiohttp client|server ws|wss plain|alone|contexts [ws|wss]
      what the real peer is, its side, over what, how messages are compressed, and what the server speaks if nginx is
      in front of it

The same tests run in all combinations that BUILD names. sluice's side is websocket_peer (websocket_peer.cc): it sends back what it
gets, obeys messages that begin with '!', and tells what it sees.
"""

import os
import sys

from endpoint import Endpoint
from harness import Process, Server, TestCase, main, pattern
from nginx import Nginx, proxy
from tls_harness import chain_and_key, file, identity, roots

KIND, SIDE, SCHEME, COMPRESSION, *BEHIND = sys.argv[1:]
CLIENT_IS_ENCRYPTED = SCHEME == "wss"
SERVER_IS_ENCRYPTED = (BEHIND or [SCHEME]) == ["wss"]

# Around each change of the length's form, and the largest message that sluice takes by default.
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20]


class Connection:
    """One connection between the real peer and sluice, made by whichever side is the client."""

    def __init__(self, endpoint, target="", subprotocols=()):
        self.endpoint = endpoint
        self.nginx = None
        peer = os.environ["WEBSOCKET_PEER"]
        compress = [] if COMPRESSION == "plain" else ["--deflate=" + COMPRESSION]
        if SIDE == "client":
            flags = compress + ([identity("p256")] if SERVER_IS_ENCRYPTED else [])
            self.sluice = Server([peer, "serve", "127.0.0.1:0", "chat", "more", *flags])
            endpoint.command("connect", url=f"{SCHEME}://{self.front(self.sluice.address)}/{target}",
                             subprotocols=list(subprotocols), ca=file("root.pem") if CLIENT_IS_ENCRYPTED else None)
        else:
            flags = compress + ([roots()] if CLIENT_IS_ENCRYPTED else [])
            address = self.front(f"127.0.0.1:{endpoint.port}")
            self.sluice = Process([peer, "connect", f"{SCHEME}://{address}/{target}", *subprotocols, *flags])

    def front(self, address):
        """Where to reach the server at this address: there, or through nginx."""
        if not BEHIND:
            return address
        trust = f'proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_trusted_certificate {file("root.pem")};'
        self.nginx = Nginx(proxy("https" if SERVER_IS_ENCRYPTED else "http", address,
                                 trust if SERVER_IS_ENCRYPTED else ""), encrypted=CLIENT_IS_ENCRYPTED)
        return f"127.0.0.1:{self.nginx.port}"

    def __enter__(self):
        self.sluice.__enter__()
        return self

    def __exit__(self, *arguments):
        self.sluice.__exit__(*arguments)
        if self.nginx:
            self.nginx.__exit__(*arguments)

    def open(self):
        """Both sides say that it is open; what they say."""
        return self.endpoint.expect("open"), self.expect("open")

    def expect(self, name):
        """The next that sluice tells, which must be this; its words."""
        event, *words = self.sluice.read_line().split("\t")
        if event != name:
            raise AssertionError(f"sluice tells not {name} but {event} {words}")
        return dict(word.split("=", 1) for word in words)

    def end(self):
        """sluice's side ends without an error."""
        if SIDE == "client":
            status, rest = self.sluice.stop()
        else:
            status, rest = self.sluice.wait(), self.sluice.read_rest()
        if (status, rest) != (0, []):
            raise AssertionError(f"sluice ended with status {status} and {rest}")


class InteropTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.endpoint = cls.enter_for_all(Endpoint(KIND))
        if SIDE == "server":
            chain, key = chain_and_key("p256") if SERVER_IS_ENCRYPTED else (None, None)
            cls.endpoint.command("serve", chain=chain, key=key)
            cls.endpoint.port = cls.endpoint.expect("listening")["port"]

    def connect(self, **options):
        connection = self.enter(Connection(self.endpoint, **options))
        connection.open()
        return connection

    def finish(self, connection):
        """A message still comes back, and then an orderly end."""
        self.endpoint.send("the last one")
        self.assertEqual(self.endpoint.receive(), "the last one")
        self.endpoint.close(1000, "done")
        self.assertEqual(self.endpoint.expect_close(), (1000, ""))
        self.assert_closed(connection, code=1000, by="peer", reason="done")
        connection.end()

    def assert_closed(self, connection, code, by, reason="", clean=True):
        told = connection.expect("close")
        self.assertEqual((told["code"], told["by"], told["reason"], told["clean"]),
                         (str(code), by, reason, str(int(clean))), told)
        self.assertEqual(told["status"] == "OK", clean, told)

    def assert_echoed(self, message):
        self.endpoint.send(message)
        self.assertTrue(self.endpoint.receive() == message, f"{len(message)} of {type(message)} came back otherwise")


class MessagesTest(InteropTest):
    def test_text_comes_back(self):
        connection = self.connect()
        for text in ["hello", "Grüße, 世界, \U0001F30A", "\0", "a\r\nb"]:
            self.assert_echoed(text)
        self.finish(connection)

    def test_binary_of_every_length_form_comes_back(self):
        connection = self.connect()
        for size in SIZES:
            self.assert_echoed(pattern(size, seed=size))
        self.finish(connection)

    def test_text_of_every_length_form_comes_back(self):
        connection = self.connect()
        for size in SIZES:
            self.assert_echoed("x" * size)
        self.finish(connection)

    def test_fragments_come_back_as_one_message(self):
        connection = self.connect()
        self.endpoint.send_fragments("one, ", "", "twö, ", "three")
        self.assertEqual(self.endpoint.receive(), "one, twö, three")
        parts = [pattern(size, seed=size) for size in (1, 70000, 0, 126, 200000)]
        self.endpoint.send_fragments(*parts)
        self.assertTrue(self.endpoint.receive() == b"".join(parts))
        self.finish(connection)

    def test_many_messages_in_flight_keep_their_order(self):
        connection = self.connect()
        messages = [pattern(i * 37 % 5000, seed=i) for i in range(300)]
        for message in messages:
            self.endpoint.send(message)
        for message in messages:
            self.assertTrue(self.endpoint.receive() == message)
        self.finish(connection)

    def test_a_message_over_the_limit_is_refused_with_1009(self):
        connection = self.connect()
        self.endpoint.send(bytes((1 << 20) + 1))
        code, _ = self.endpoint.expect_close()
        self.assertEqual(code, 1009)
        told = connection.expect("close")
        self.assertEqual((told["code"], told["by"]), ("1009", "sluice"))
        self.assertIn("RESOURCE_EXHAUSTED", told["status"])
        self.assertIn("1048576", told["status"])
        connection.end()


class PingTest(InteropTest):
    def test_the_peers_ping_is_answered_with_its_payload(self):
        connection = self.connect()
        for payload in [b"p", b"\0\xff" * 62]:
            self.endpoint.ping(payload)
            self.assertEqual(self.endpoint.expect_pong(), payload)
            connection.expect("ping")
        self.finish(connection)

    def test_the_peer_answers_a_ping(self):
        connection = self.connect()
        for payload in ["", "are you there?", "x" * 125]:
            self.endpoint.send("!ping " + payload)
            self.assertEqual(connection.expect("pong")["payload"], payload)
        self.finish(connection)


class ClosingTest(InteropTest):
    def test_the_peer_closes(self):
        for code, reason in [(1000, ""), (1001, "going"), (1011, "broken"), (3000, "bis später"), (4999, "x" * 123)]:
            with self.subTest(code=code):
                connection = self.connect()
                self.endpoint.close(code, reason)
                self.assertEqual(self.endpoint.expect_close(), (code, ""))  # sluice's answer
                self.assert_closed(connection, code, by="peer", reason=reason)
                connection.end()

    def test_the_peer_closes_without_a_code(self):
        connection = self.connect()
        self.endpoint.close()
        self.assertEqual(self.endpoint.expect_close(), (1005, ""))
        self.assert_closed(connection, 1005, by="peer")
        connection.end()

    def test_sluice_closes(self):
        for code, reason in [(1000, ""), (1001, "going"), (1011, "broken"), (3000, "bis später"), (4999, "x" * 123)]:
            with self.subTest(code=code):
                connection = self.connect()
                self.endpoint.send(f"!close {code} {reason}")
                self.assertEqual(self.endpoint.expect_close(), (code, reason))
                self.assert_closed(connection, code, by="sluice", reason=reason)
                connection.end()

    def test_answers_that_are_under_way_arrive_before_sluices_close(self):
        connection = self.connect()
        messages = [pattern(100000, seed=i) for i in range(8)]
        for message in messages:
            self.endpoint.send(message)
        self.endpoint.send("!close 1000 ")
        for message in messages:
            self.assertTrue(self.endpoint.receive() == message)
        self.assertEqual(self.endpoint.expect_close(), (1000, ""))
        self.assert_closed(connection, 1000, by="sluice")
        connection.end()

    def test_a_peer_that_vanishes_is_an_abnormal_end(self):
        connection = self.connect()
        self.endpoint.command("terminate")
        self.assert_closed(connection, 1006, by="sluice", clean=False)
        self.assertEqual(self.endpoint.expect_close()[0], 1006)
        connection.end()

    def test_the_peer_sees_a_reset_as_an_abnormal_end(self):
        connection = self.connect()
        self.endpoint.send("!abort")
        self.assert_closed(connection, 1006, by="sluice", clean=False)
        if self.endpoint.expect("error", "close")["event"] == "error":
            self.endpoint.expect("close")
        connection.end()


class HandshakeTest(InteropTest):
    def test_a_subprotocol_is_agreed_on(self):
        connection = self.enter(Connection(self.endpoint, subprotocols=["chat.v2", "chat"]))
        peers, sluices = connection.open()
        self.assertEqual((peers["subprotocol"], sluices["subprotocol"]), ("chat", "chat"))
        self.finish(connection)

    def test_no_subprotocol_where_none_is_offered(self):
        connection = self.enter(Connection(self.endpoint))
        peers, sluices = connection.open()
        self.assertEqual((peers["subprotocol"], sluices["subprotocol"]), ("", ""))
        self.finish(connection)

    def test_compression_is_agreed_on_where_sluice_wants_it(self):
        connection = self.enter(Connection(self.endpoint))
        peers, _ = connection.open()
        if COMPRESSION == "plain":
            self.assertEqual(peers["extensions"], "")
        else:
            self.assertIn("permessage-deflate", peers["extensions"])
        self.assert_echoed("a text that compresses well: " + "a" * 10000)
        self.finish(connection)

    def test_many_different_messages_come_back(self):
        connection = self.connect()
        for i in range(256):
            self.assert_echoed(" ".join(f"word{i * k % 97}" for k in range(i * 3)))
        self.finish(connection)

    def test_a_refusal_is_seen_as_its_status(self):
        connection = self.enter(Connection(self.endpoint, target="refused"))
        if SIDE == "client":
            self.assertEqual(self.endpoint.expect("refused")["status"], 403)
        told = connection.expect("close")
        self.assertEqual((told["code"], told["clean"]), ("1006", "0"))
        if SIDE == "server":
            self.assertIn("PERMISSION_DENIED", told["status"])
            self.assertIn("403", told["status"])
        connection.end()


if __name__ == "__main__":
    main()
