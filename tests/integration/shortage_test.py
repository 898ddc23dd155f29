"""`sluice echo` out of descriptors: it sheds new connections, serves the ones that it has, and recovers."""

import select

import wire
from harness import Sluice, TestCase, main, receive_exactly

DESCRIPTORS = 48  # more than the process has open when idle, by a few dozen


class ShortageTest(TestCase):
    def start(self, *flags):
        self.server = self.enter(Sluice(*flags, descriptors=DESCRIPTORS, merge_errors=True))

    def attempt(self):
        """A new connection that is served, or None if it was shed."""
        client = self.server.connect()
        try:
            self.greet(client)
        except (AssertionError, ConnectionError):
            client.close()
            return None
        self.addCleanup(client.close)
        return client

    def exhaust(self):
        """Connects until one is shed; those that are served."""
        served = []
        while client := self.attempt():
            served.append(client)
            self.assertLess(len(served), DESCRIPTORS)
        self.assertGreater(len(served), 8)
        return served

    def connect_at_last(self):
        """The server backs off for at most a second; what comes meanwhile is shed, or waits and is then served."""
        for _ in range(1000):
            if client := self.attempt():
                return client
        raise AssertionError("it does not recover")

    def assert_sheds_serves_and_recovers(self):
        served = self.exhaust()
        for _ in range(5):
            self.assertIsNone(self.attempt())
            for client in served:
                self.assert_served(client)
        for client in served[:5]:
            client.close()
        recovered = [self.connect_at_last() for _ in range(5)]
        for client in served[5:] + recovered:
            self.assert_served(client)
            client.close()
        # All descriptors are back: as many connections as before, and no leak.
        again = [self.connect_at_last() for _ in served]
        for client in again:
            self.assert_served(client)
            client.close()
        status, lines = self.server.stop()
        self.assertEqual(status, 0)
        self.assertIn("accept: Too many open files (RLIMIT_NOFILE: raise it", lines[0])


class RawShortageTest(ShortageTest):
    def greet(self, client):
        self.assert_served(client)

    def assert_served(self, client):
        client.sendall(b"still here?")
        self.assertEqual(receive_exactly(client, 11), b"still here?")

    def test_on_one_loop(self):
        self.start("--protocol=raw")
        self.assert_sheds_serves_and_recovers()

    def test_on_several_loops(self):
        self.start("--protocol=raw", "--threads=2")
        self.assert_sheds_serves_and_recovers()


class WebSocketShortageTest(ShortageTest):
    def greet(self, client):
        wire.shake_hands(client)

    def assert_served(self, client):
        client.sendall(wire.frame(wire.TEXT, b"still here?"))
        self.assertEqual(wire.receive_frame(client), (wire.TEXT, b"still here?"))

    def test_on_one_loop(self):
        self.start("--protocol=websocket")
        self.assert_sheds_serves_and_recovers()


class ConnectionLimitTest(TestCase):
    def test_at_max_connections_others_wait_until_one_ends(self):
        server = self.enter(Sluice("--protocol=raw", "--max_connections=3"))
        first = [self.enter(server.connect()) for _ in range(3)]
        for client in first:
            client.sendall(b"x")
            self.assertEqual(receive_exactly(client, 1), b"x")
        waiting = self.enter(server.connect())
        waiting.sendall(b"patience")
        for _ in range(100):  # turns of the loop in which it is not accepted
            first[0].sendall(b"y")
            self.assertEqual(receive_exactly(first[0], 1), b"y")
        self.assertEqual(select.select([waiting], [], [], 0)[0], [])
        first[1].close()
        self.assertEqual(receive_exactly(waiting, 8), b"patience")


if __name__ == "__main__":
    main()
