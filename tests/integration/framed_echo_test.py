"""`sluice echo --protocol=frame` (a length in four bytes, big-endian, before each message) against plain sockets."""

import socket
import struct

from harness import (Sluice, TestCase, exchange, main, pattern, receive_exactly, receive_to_end, reset,
                     send_what_is_taken)

LIMIT = 1 << 20


def frame(message):
    return struct.pack(">I", len(message)) + message


class FramedEchoTest(TestCase):
    def setUp(self):
        self.server = self.enter(Sluice("--protocol=frame"))

    def connect(self):
        return self.enter(self.server.connect())

    def assert_serves(self):
        with self.server.connect() as client:
            data = frame(b"good") + frame(b"") + frame(pattern(3000))
            self.assertTrue(exchange(client, data) == data)

    def test_messages_of_every_size_come_back(self):
        client = self.connect()
        for size in [0, 1, 255, 256, 65535, 65536, LIMIT - 1, LIMIT]:
            data = frame(pattern(size, seed=size))
            self.assertTrue(exchange(client, data) == data, size)

    def test_a_thousand_messages_in_one_write_come_back_in_order(self):
        client = self.connect()
        data = b"".join(frame(pattern(i * 13 % 700, seed=i)) for i in range(1000))
        self.assertTrue(exchange(client, data) == data)
        client.close()
        totals = self.server.totals()
        self.assertEqual((totals["messages"], totals["errors"]), (1000, 0))

    def test_a_message_that_comes_byte_by_byte_comes_back_once_it_is_whole(self):
        client = self.connect()
        data = frame(pattern(200)) + frame(b"") + frame(b"end")
        for byte in data:
            client.sendall(bytes([byte]))
        self.assertTrue(receive_exactly(client, len(data)) == data)

    def test_nothing_comes_back_of_a_message_that_is_not_whole(self):
        client = self.connect()
        client.sendall(frame(b"whole") + frame(b"cut short")[:-1])
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_to_end(client), frame(b"whole"))
        self.assert_serves()
        self.assertEqual(self.server.totals()["errors"], 1)

    def test_a_length_over_the_limit_ends_the_connection_at_once(self):
        for length in [LIMIT + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]:
            with self.server.connect() as client:
                self.assertEqual(exchange(client, frame(b"before")), frame(b"before"))
                client.sendall(struct.pack(">I", length))
                self.assertEqual(receive_to_end(client), b"", length)
            self.assert_serves()
        totals = self.server.totals()
        self.assertEqual((totals["errors"], totals["connections"]), (4, 8))

    def test_the_limit_can_be_chosen(self):
        server = self.enter(Sluice("--protocol=frame", "--max_message_bytes=10"))
        with server.connect() as client:
            data = frame(b"ten bytes.")
            self.assertEqual(exchange(client, data), data)
            client.sendall(frame(b"eleven byte"))
            self.assertEqual(receive_to_end(client), b"")

    def test_a_length_that_is_announced_costs_no_memory_before_its_bytes_come(self):
        before = self.server.memory_bytes("VmRSS")
        clients = [self.connect() for _ in range(200)]
        for client in clients:
            client.sendall(struct.pack(">I", LIMIT) + b"x")
        self.assert_serves()  # by then the server has seen them
        self.assertLess(self.server.memory_bytes("VmHWM") - before, 200 * LIMIT // 4)

    def test_a_reset_in_the_middle_of_a_message_ends_its_own_connection_only(self):
        other = self.connect()
        for _ in range(50):
            victim = self.server.connect()
            victim.sendall(frame(bytes(100000))[:70000])
            reset(victim)
            self.assertEqual(exchange(other, frame(b"still here?")), frame(b"still here?"))
        self.assert_serves()

    def test_garbage_ends_its_own_connection_only(self):
        for seed in range(20):
            with self.server.connect() as client:
                client.setblocking(True)
                send_what_is_taken(client, b"\xff" + pattern(5000, seed=seed))
                receive_to_end(client)
            self.assert_serves()


if __name__ == "__main__":
    main()
