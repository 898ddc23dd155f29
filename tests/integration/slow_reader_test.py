"""Peers that send and do not read: the server stops reading them, its memory stays bounded, others are served, and when
such a peer reads at last, nothing is missing."""

import struct

import wire
from harness import DEADLINE, Sluice, TestCase, exchange, main, pattern, receive_exactly, send_what_is_taken

MIB = 1 << 20
PIECE = pattern(MIB)
SMALL_BUFFER = 64 << 10

# A server that read on would take all of this.
ENOUGH = 256 * MIB


class SlowReaderTest(TestCase):
    def start(self, *flags):
        self.server = self.enter(Sluice(*flags))
        self.good = self.enter(self.server.connect())
        self.memory = self.server.memory_bytes("VmRSS")

    def assert_good_is_served(self):
        self.assertEqual(exchange(self.good, b"still here?"), b"still here?")

    def connect(self):
        return self.enter(self.server.connect(receive_buffer=SMALL_BUFFER))

    def offer(self, client, unit, count):
        """Sends count bytes of units, one after the other, or as many as the server takes: it takes no more when it has
        served another peer fifty times meanwhile. The number of bytes that it took."""
        data = unit * max(1, MIB // len(unit))
        client.setblocking(False)
        taken = refused = 0
        while taken < count and refused < 50:
            start = taken % len(data)
            try:
                taken += client.send(data[start:start + count - taken])
                refused = 0
            except BlockingIOError:
                self.assert_good_is_served()
                refused += 1
        client.setblocking(True)
        client.settimeout(DEADLINE)
        return taken

    def fill(self, client, unit):
        taken = self.offer(client, unit, ENOUGH)
        self.assertLess(taken, ENOUGH, "the server does not stop reading")
        return taken

    def assert_memory_grew_by_less_than(self, limit):
        self.assertLess(self.server.memory_bytes("VmHWM") - self.memory, limit)


class RawTest(SlowReaderTest):
    def setUp(self):
        self.start("--protocol=raw")

    def test_one_is_held_back_and_gets_all_of_it_later(self):
        client = self.connect()
        taken = self.fill(client, PIECE)
        self.assert_memory_grew_by_less_than(4 * MIB)
        for start in range(0, taken, MIB):
            count = min(MIB, taken - start)
            self.assertTrue(receive_exactly(client, count) == PIECE[:count])
        self.assertTrue(exchange(client, PIECE) == PIECE)

    def test_fifty_of_them_cost_less_than_a_mebibyte_each(self):
        clients = [self.connect() for _ in range(50)]
        for client in clients:
            self.fill(client, PIECE)
        self.assert_memory_grew_by_less_than(50 * MIB)
        self.assert_good_is_served()

    def test_one_that_never_reads_is_ended_at_the_idle_deadline(self):
        server = self.enter(Sluice("--protocol=raw", "--idle_timeout=100ms"))
        client = self.enter(server.connect(receive_buffer=SMALL_BUFFER))
        while send_what_is_taken(client, PIECE):
            pass
        self.assertEqual(server.totals()["errors"], 1)


class FrameTest(SlowReaderTest):
    def setUp(self):
        self.start("--protocol=frame")

    def assert_good_is_served(self):
        message = struct.pack(">I", 5) + b"here?"
        self.assertEqual(exchange(self.good, message), message)

    def test_one_is_held_back_and_gets_all_of_it_later(self):
        for size in [100, 65536, MIB]:
            client = self.connect()
            unit = struct.pack(">I", size) + PIECE[:size]
            whole = self.fill(client, unit) // len(unit)
            for _ in range(whole):
                self.assertTrue(receive_exactly(client, len(unit)) == unit)
        self.assert_memory_grew_by_less_than(16 * MIB)


class WebSocketTest(SlowReaderTest):
    def setUp(self):
        self.start("--protocol=websocket")
        wire.shake_hands(self.good)

    def assert_good_is_served(self):
        self.good.sendall(wire.frame(wire.TEXT, b"here?"))
        self.assertEqual(wire.receive_frame(self.good), (wire.TEXT, b"here?"))

    def connect(self):
        client = super().connect()
        wire.shake_hands(client)
        return client

    def test_one_is_held_back_and_gets_all_of_it_later(self):
        for size in [100, 65536, MIB]:
            client = self.connect()
            unit = wire.frame(wire.BINARY, PIECE[:size])
            whole = self.fill(client, unit) // len(unit)
            self.assertGreater(whole, 0)
            for _ in range(whole):
                opcode, payload = wire.receive_frame(client)
                self.assertTrue(opcode == wire.BINARY and payload == PIECE[:size])
        self.assert_memory_grew_by_less_than(16 * MIB)

    def test_twenty_of_them_with_messages_of_the_largest_size(self):
        clients = [self.connect() for _ in range(20)]
        for client in clients:
            self.fill(client, wire.frame(wire.BINARY, PIECE))
        self.assert_memory_grew_by_less_than(20 * 4 * MIB)
        self.assert_good_is_served()

    def test_a_flood_of_pings_is_ended(self):
        client = self.connect()
        payload = b"p" * 125
        client.sendall(wire.frame(wire.PING, payload) * 1000)
        pongs = 0
        while (answer := wire.receive_frame(client)) == (wire.PONG, payload):
            pongs += 1
        self.assertGreater(pongs, 0)
        self.assertLess(pongs, 1000)
        self.assertEqual((answer[0], answer[1][:2]), (wire.CLOSE, (1008).to_bytes(2, "big")))
        self.assert_good_is_served()


if __name__ == "__main__":
    main()
