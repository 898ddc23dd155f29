"""`sluice echo --protocol=raw` against plain sockets: every byte comes back, however it was sent, and no peer disturbs
another."""

import os
import socket
import subprocess
import tempfile

from harness import (DEADLINE, Sluice, TestCase, exchange, main, pattern, receive_exactly, receive_to_end, require,
                     reset)


class RawEchoTest(TestCase):
    def setUp(self):
        self.server = self.enter(Sluice("--protocol=raw"))

    def connect(self):
        return self.enter(self.server.connect())

    def assert_serves(self):
        data = pattern(1000, seed=7)
        with self.server.connect() as client:
            self.assertTrue(exchange(client, data) == data)


class BytesTest(RawEchoTest):
    def test_bytes_one_at_a_time_each_come_back_at_once(self):
        client = self.connect()
        for byte in pattern(300):
            client.sendall(bytes([byte]))
            self.assertEqual(client.recv(2), bytes([byte]))
        client.close()
        self.assertEqual(self.server.totals(), {"connections": 1, "pieces": 300, "bytes": 300, "errors": 0})

    def test_writes_of_every_size_come_back_in_order(self):
        client = self.connect()
        data = pattern(3 << 20)
        received, start = bytearray(), 0
        for size in [1, 2, 3, 1000, 4096, 65536, 262143, 262144, 262145, 1 << 20]:
            received += exchange(client, data[start:start + size])
            start += size
        self.assertTrue(received == data[:start])

    def test_much_in_one_write_comes_back_whole(self):
        client = self.connect()
        data = pattern(16 << 20)
        self.assertTrue(exchange(client, data) == data)

    def test_what_was_sent_before_a_half_close_comes_back_before_the_end(self):
        client = self.connect()
        data = pattern(200000)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        self.assertTrue(receive_to_end(client) == data)
        self.assertEqual(self.server.totals()["errors"], 0)

    def test_an_end_without_a_byte_is_answered_with_an_end(self):
        client = self.connect()
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_to_end(client), b"")
        self.assertEqual(self.server.totals(), {"connections": 1, "pieces": 0, "bytes": 0, "errors": 0})


class TroubleTest(RawEchoTest):
    def test_a_reset_ends_its_own_connection_only(self):
        other = self.connect()
        for _ in range(50):
            victim = self.server.connect()
            victim.sendall(b"half of a mess")
            reset(victim)
            other.sendall(b"still here?")
            self.assertEqual(receive_exactly(other, 11), b"still here?")
        other.close()
        self.assert_serves()
        self.assertLessEqual(self.server.totals()["errors"], 50)

    def test_a_reset_while_answers_are_queued_ends_its_own_connection_only(self):
        other = self.connect()
        for _ in range(10):
            victim = self.server.connect(receive_buffer=4096)
            victim.setblocking(False)
            sent = 0
            while sent < 64 << 20:
                try:
                    sent += victim.send(bytes(1 << 20))
                except BlockingIOError:
                    break
            reset(victim)
            other.sendall(b"still here?")
            self.assertEqual(receive_exactly(other, 11), b"still here?")
        other.close()
        self.assertEqual(self.server.totals()["errors"], 10)

    def test_thousands_of_short_connections(self):
        keeper = self.connect()
        count = 2000
        for i in range(count):
            with self.server.connect() as client:
                client.sendall(b"%6d" % i)
                self.assertEqual(receive_exactly(client, 6), b"%6d" % i)
                if i % 3 == 0:
                    reset(client)
        keeper.sendall(b"last")
        self.assertEqual(receive_exactly(keeper, 4), b"last")
        keeper.close()
        totals = self.server.totals()
        self.assertEqual((totals["connections"], totals["bytes"]), (count + 1, 6 * count + 4))

    def test_many_connections_at_once(self):
        clients = [self.connect() for _ in range(500)]
        for i, client in enumerate(clients):
            client.sendall(pattern(300, seed=i))
        for i, client in enumerate(clients):
            self.assertTrue(receive_exactly(client, 300) == pattern(300, seed=i))
        for client in clients:
            client.close()
        self.assertEqual(self.server.totals(), {"connections": 500, "pieces": 500, "bytes": 150000, "errors": 0})


class IdleTest(TestCase):
    def test_a_silent_peer_is_ended_at_the_idle_deadline_and_counted(self):
        server = self.enter(Sluice("--protocol=raw", "--idle_timeout=50ms"))
        client = self.enter(server.connect())
        self.assertEqual(receive_to_end(client), b"")
        self.assertEqual(server.totals()["errors"], 1)


class AddressTest(TestCase):
    def assert_serves_on(self, listen):
        server = self.enter(Sluice("--protocol=raw", f"--listen={listen}", "--threads=2"))
        for i in range(20):
            with server.connect() as client:
                data = pattern(5000, seed=i)
                self.assertTrue(exchange(client, data) == data)
        self.assertEqual(server.totals()["connections"], 20)
        return server

    def test_ipv4(self):
        self.assertRegex(self.assert_serves_on("127.0.0.1:0").address, r"^127\.0\.0\.1:[1-9]\d*$")

    def test_ipv6(self):
        require(os.path.exists("/proc/net/if_inet6"), "IPv6")
        self.assertRegex(self.assert_serves_on("[::1]:0").address, r"^\[::1\]:[1-9]\d*$")

    def test_a_unix_path_which_is_gone_afterwards(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "echo.sock")
            self.assertEqual(self.assert_serves_on(f"unix:{path}").address, f"unix:{path}")
            self.assertFalse(os.path.exists(path))

    def test_a_path_that_a_dead_server_left_behind_is_taken_over(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "echo.sock")
            with Sluice("--protocol=raw", f"--listen=unix:{path}"):
                pass  # it is killed
            self.assertTrue(os.path.exists(path))
            self.assert_serves_on(f"unix:{path}")

    def test_linuxs_abstract_names(self):
        name = f"@sluice-integration-{os.getpid()}"
        self.assertEqual(self.assert_serves_on(f"unix:{name}").address, f"unix:{name}")

    def test_an_address_in_use_is_a_failure_that_names_it(self):
        server = self.enter(Sluice("--protocol=raw"))
        second = subprocess.run([os.environ["SLUICE"], "echo", f"--listen={server.address}"], timeout=DEADLINE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual((second.returncode, second.stdout), (1, b""))
        self.assertIn(server.address, second.stderr.decode())
        self.assertIn("in use", second.stderr.decode())

    def test_an_address_that_does_not_parse_is_bad_usage(self):
        for listen in ["127.0.0.1", "localhost:0", "1.2.3.4:65536", "unix:", "[::1:0"]:
            run = subprocess.run([os.environ["SLUICE"], "echo", f"--listen={listen}"], timeout=DEADLINE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            self.assertEqual((run.returncode, run.stdout), (2, b""), listen)
            self.assertIn("accepted are 127.0.0.1:9000", run.stderr.decode(), listen)


if __name__ == "__main__":
    main()
