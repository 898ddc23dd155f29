"""A long transfer through `sluice relay` to a reader that is slower than the sender: what the relay holds of it stays
bounded, and nothing is lost. SLOW_READER_BYTES says how much it is; 256 MiB unless it is set."""

import os
import socket
import ssl
import threading

from harness import DEADLINE, Relay, TestCase, main, pattern, receive_exactly
from tls_harness import chain_and_key, client_context

MIB = 1 << 20
TOTAL = int(os.environ.get("SLOW_READER_BYTES", 256 * MIB)) // MIB * MIB
PIECE = pattern(MIB)


class Sender(threading.Thread):
    """A backend that sends all of it as fast as it is taken."""

    def __init__(self):
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.start()

    def run(self):
        connection, _ = self._listener.accept()
        with self._listener, connection:
            for _ in range(TOTAL // MIB):
                connection.sendall(PIECE)


class MemoryTest(TestCase):
    def anonymous(self):
        with open(f"/proc/{self.relay.pid}/smaps_rollup", encoding="ascii") as rollup:
            return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Anonymous:"))

    def assert_grows_by_less_than(self, limit, connect, *flags):
        sender = Sender()
        self.relay = self.enter(Relay(sender.address, *flags))
        before = self.anonymous()
        client = self.enter(connect())
        highest = before
        for i in range(TOTAL // MIB):
            # It waits for the sender, who has sent what there is room for long before.
            highest = max(highest, self.anonymous())
            self.assertTrue(receive_exactly(client, MIB) == PIECE, i)
        self.assertEqual(client.recv(1), b"")
        sender.join(DEADLINE)
        self.end(client)
        totals = self.relay.totals()
        self.assertEqual((totals["bytes_down"], totals["errors"]), (TOTAL, 0))
        print(f"{TOTAL // MIB} MiB; anonymous memory {before >> 10} KiB before, {highest >> 10} KiB at most")
        self.assertLess(highest - before, limit)

    def end(self, client):
        if isinstance(client, ssl.SSLSocket):
            client = client.unwrap()
        client.close()

    def test_plain(self):
        self.assert_grows_by_less_than(4 * MIB, lambda: self.relay.connect(receive_buffer=64 << 10))

    def test_over_tls(self):
        chain, key = chain_and_key("p256")
        self.assert_grows_by_less_than(
            4 * MIB,
            lambda: client_context().wrap_socket(self.relay.connect(receive_buffer=64 << 10),
                                                 server_hostname="localhost"),
            f"--tls_cert={chain}", f"--tls_key={key}")


if __name__ == "__main__":
    main()
