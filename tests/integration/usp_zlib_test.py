"""--protocol=usp-zlib, the older Python port's form of usp: `sluice echo` against plain sockets, and `sluice cat` and
`sluice bench` against a server that behaves as the port's does (peers/usp_zlib_peer.py).
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import zlib

from harness import (DEADLINE, Server, Sluice, TestCase, main, pattern, receive_exactly, receive_to_end, reset,
                     send_what_is_taken)

LIMIT = 1 << 20


def frame(stream):
    return struct.pack("<I", len(stream)) + stream


def encode(message, level=5):
    return frame(zlib.compress(message, level))


def receive(connection, byte_order="<"):
    """The next message. Its bytes are not compared: another zlib may compress otherwise."""
    (length,) = struct.unpack(byte_order + "I", receive_exactly(connection, 4))
    return zlib.decompress(receive_exactly(connection, length))


class EchoTest(TestCase):
    def setUp(self):
        self.server = self.enter(Sluice("--protocol=usp-zlib"))

    def connect(self):
        return self.enter(self.server.connect())

    def assert_serves(self):
        with self.server.connect() as client:
            client.sendall(encode(b"good"))
            self.assertEqual(receive(client), b"good")

    def test_messages_of_every_size_come_back(self):
        client = self.connect()
        for size in [0, 1, 255, 256, 65535, 65536, LIMIT - 1, LIMIT]:
            message = pattern(size, seed=size)
            client.sendall(encode(message))
            self.assertTrue(receive(client) == message, size)

    def test_every_level_is_understood(self):
        client = self.connect()
        for level in range(10):
            client.sendall(encode(b"hello " * 1000, level))
            self.assertEqual(receive(client), b"hello " * 1000)

    def test_many_messages_at_once_come_back_in_order(self):
        client = self.connect()
        messages = [pattern(i * 13 % 700, seed=i) for i in range(1000)]
        sender = threading.Thread(target=client.sendall, args=[b"".join(map(encode, messages))])
        sender.start()
        self.assertTrue([receive(client) for _ in messages] == messages)
        sender.join()
        client.close()
        totals = self.server.totals()
        self.assertEqual((totals["messages"], totals["errors"]), (1000, 0))

    def test_a_message_that_comes_byte_by_byte_comes_back_once_it_is_whole(self):
        client = self.connect()
        messages = [pattern(200), b"", b"end"]
        for byte in b"".join(map(encode, messages)):
            client.sendall(bytes([byte]))
        self.assertEqual([receive(client) for _ in messages], messages)

    def test_what_is_wrong_ends_its_own_connection_only(self):
        good = zlib.compress(b"good")
        wrong = {
            "nothing": frame(b""),
            "no zlib stream": frame(b"good"),
            "an end too early": frame(good[:-1]),
            "bytes behind the stream": frame(good + b"x"),
            "the wrong checksum": frame(good[:-1] + bytes([good[-1] ^ 1])),
            "a length over the limit": b"\xff\xff\xff\xff",
            "the other byte order": struct.pack(">I", len(good)) + good,
            "plain text": b"GET / HTTP/1.1\r\n\r\n",
        }
        other = self.connect()
        for what, data in wrong.items():
            with self.subTest(what), self.server.connect() as client:
                client.sendall(encode(b"before"))
                self.assertEqual(receive(client), b"before")
                client.sendall(data)
                self.assertEqual(receive_to_end(client), b"")
                other.sendall(encode(b"still here?"))
                self.assertEqual(receive(other), b"still here?")
        other.close()
        self.assertEqual(self.server.totals()["errors"], len(wrong))

    def test_bombs_cost_no_memory(self):
        bomb = encode(bytes(500 * LIMIT), level=9)
        self.assertLess(len(bomb), LIMIT)
        before = self.server.memory_bytes("VmRSS")
        for _ in range(3):
            with self.server.connect() as client:
                send_what_is_taken(client, bomb)
                self.assertEqual(receive_to_end(client), b"")
        self.assert_serves()
        self.assertLess(self.server.memory_bytes("VmHWM") - before, 32 * LIMIT)

    def test_a_reset_in_the_middle_of_a_message_ends_its_own_connection_only(self):
        for _ in range(50):
            victim = self.server.connect()
            victim.sendall(encode(pattern(100000))[:70000])
            reset(victim)
        self.assert_serves()

    def test_the_byte_order_can_be_chosen(self):
        server = self.enter(Sluice("--protocol=usp-zlib", "--codec=byte_order=big,level=9"))
        stream = zlib.compress(b"hello", 9)
        data = struct.pack(">I", len(stream)) + stream
        with server.connect() as client:
            client.sendall(data)
            self.assertEqual(receive(client, ">"), b"hello")

    def test_the_end_of_the_client_is_the_end_of_the_connection(self):
        client = self.connect()
        client.sendall(encode(b"last"))
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive(client), b"last")
        self.assertEqual(receive_to_end(client), b"")


class ClientTest(TestCase):
    def setUp(self):
        self.server = self.enter(Server([sys.executable, os.environ["USP_ZLIB_PEER"]]))

    def run_sluice(self, command, *flags, data=b""):
        done = subprocess.run([os.environ["SLUICE"], command, f"usp-zlib://{self.server.address}", *flags], input=data,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def test_lines_come_back_and_the_end_comes_though_the_server_does_not_close(self):
        lines = "hello\nGrüße, 世界\nlast\n"
        self.assertEqual(self.run_sluice("cat", data=lines.encode()), lines)

    def test_every_message_of_a_load_comes_back(self):
        for size in ["1", "1KiB", "100KiB"]:
            report = json.loads(self.run_sluice("bench", "--json", "--duration=200ms", "--connections=5", "--pipeline=4",
                                                f"--size={size}"))
            self.assertTrue(report["ok"] and report["verified"], report)
            self.assertGreater(report["messages"], 0)


if __name__ == "__main__":
    main()
