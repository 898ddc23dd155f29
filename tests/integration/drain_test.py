"""SIGTERM to `sluice echo` under load: it stops accepting, answers what has arrived, says goodbye and ends with status 0
and its totals."""

import signal
import threading

import wire
from harness import DEADLINE, Sluice, TestCase, main, pattern, receive_exactly, receive_to_end


class Load(threading.Thread):
    """A client that sends a message when it has the answer to the last one, until the server ends the connection."""

    def __init__(self, connection, round_trip):
        super().__init__()
        self.connection = connection
        self.round_trip = round_trip
        self.is_running = threading.Event()
        self.error = None
        self.start()

    def run(self):
        try:
            count = 0
            while self.round_trip(self.connection, pattern(1000, seed=count)):
                count += 1
                if count == 50:
                    self.is_running.set()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error
        self.is_running.set()


def raw_round_trip(connection, message):
    """False at an orderly end; a wrong answer, half of one, or a reset raises."""
    connection.sendall(message)
    first = connection.recv(len(message))
    if not first:
        return False
    if first + receive_exactly(connection, len(message) - len(first)) != message:
        raise AssertionError("a wrong answer")
    return True


def websocket_round_trip(connection, message):
    connection.sendall(wire.frame(wire.BINARY, message))
    opcode, payload = wire.receive_frame(connection)
    if opcode == wire.CLOSE:
        if payload[:2] != b"\x03\xe9":
            raise AssertionError(f"a close frame with {payload}")
        connection.sendall(wire.frame(wire.CLOSE, payload[:2]))
        if receive_to_end(connection):
            raise AssertionError("something after the close frame")
        return False
    if payload != message:
        raise AssertionError("a wrong answer")
    return True


class DrainTest(TestCase):
    def start(self, *flags):
        self.server = self.enter(Sluice(*flags))

    def connect(self):
        return self.enter(self.server.connect())

    def assert_refuses(self):
        with self.assertRaises(ConnectionRefusedError):
            self.server.connect()

    def assert_drains_under_load(self, round_trip, handshake=lambda client: None):
        loads = []
        for _ in range(8):
            client = self.connect()
            handshake(client)
            loads.append(Load(client, round_trip))
        for load in loads:
            self.assertTrue(load.is_running.wait(DEADLINE))
        self.server.terminate()
        for load in loads:
            load.join(DEADLINE)
            self.assertFalse(load.is_alive())
            if load.error:
                raise load.error
            load.connection.close()
        totals = self.server.totals()
        self.assertEqual((totals["connections"], totals["errors"]), (8, 0))
        self.assert_refuses()


class RawDrainTest(DrainTest):
    def test_what_was_sent_before_is_answered(self):
        self.start("--protocol=raw")
        data = pattern(100000)
        clients = [self.connect() for _ in range(30)]
        for client in clients:
            client.sendall(data)
        self.server.terminate()
        for client in clients:
            self.assertTrue(receive_to_end(client) == data)
            client.close()
        self.assertEqual(self.server.totals()["bytes"], 30 * len(data))
        self.assert_refuses()

    def test_under_load(self):
        self.start("--protocol=raw", "--threads=2")
        self.assert_drains_under_load(raw_round_trip)

    def test_sigint_is_the_same(self):
        self.start("--protocol=raw")
        client = self.connect()
        client.sendall(b"x")
        self.server.terminate(signal.SIGINT)
        self.assertEqual(receive_to_end(client), b"x")
        client.close()
        self.assertEqual(self.server.totals()["bytes"], 1)

    def test_a_peer_that_neither_reads_nor_ends_is_cut_off_at_the_deadline(self):
        self.start("--protocol=raw", "--drain_timeout=100ms")
        client = self.enter(self.server.connect(receive_buffer=4096))
        client.setblocking(False)
        try:
            while True:
                client.send(bytes(1 << 20))
        except BlockingIOError:
            pass
        self.assertEqual(self.server.totals()["errors"], 1)


class WebSocketDrainTest(DrainTest):
    def test_what_was_sent_before_is_answered_before_the_close(self):
        self.start("--protocol=websocket")
        clients = [self.connect() for _ in range(30)]
        messages = [pattern(1000 * i, seed=i) for i in range(10)]
        for client in clients:
            wire.shake_hands(client)
            client.sendall(b"".join(wire.frame(wire.BINARY, message) for message in messages))
        self.server.terminate()
        for client in clients:
            for message in messages:
                self.assertTrue(wire.receive_frame(client) == (wire.BINARY, message))
            self.assertEqual(wire.receive_close(client)[0], 1001)
            client.sendall(wire.close_frame(1001))
            self.assertEqual(receive_to_end(client), b"")
            client.close()
        totals = self.server.totals()
        self.assertEqual((totals["messages"], totals["errors"]), (300, 0))
        self.assert_refuses()

    def test_under_load(self):
        self.start("--protocol=websocket", "--threads=2")
        self.assert_drains_under_load(websocket_round_trip, wire.shake_hands)

    def test_a_handshake_that_is_not_over_is_ended(self):
        self.start("--protocol=websocket")
        client = self.connect()
        client.sendall(wire.request()[:20])
        self.server.terminate()
        receive_to_end(client)
        client.close()
        self.assertEqual(self.server.totals()["connections"], 1)


class FrameDrainTest(DrainTest):
    def test_what_was_sent_before_is_answered(self):
        self.start("--protocol=frame")
        data = b"\0\0\x03\xe8" + pattern(1000)
        clients = [self.connect() for _ in range(30)]
        for client in clients:
            client.sendall(data * 50)
        self.server.terminate()
        for client in clients:
            self.assertTrue(receive_to_end(client) == data * 50)
            client.close()
        self.assertEqual(self.server.totals()["messages"], 30 * 50)


if __name__ == "__main__":
    main()
