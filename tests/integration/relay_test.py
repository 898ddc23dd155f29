"""`sluice relay` between plain sockets: bytes, ends, backends that are not there, PROXY protocol headers, SIGTERM."""

import os
import pathlib
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time

from harness import (DEADLINE, Process, Relay, Sluice, TestCase, exchange, main, pattern, receive_exactly,
                     receive_to_end, reset)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class Backend:
    """A socket that accepts; each of its operations fails after DEADLINE."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def accept(self):
        connection, _ = self._listener.accept()
        connection.settimeout(DEADLINE)
        return connection


def closed_address():
    """Where nobody listens: a port that is taken, and so nobody else's, while the test runs."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    return taken, f"127.0.0.1:{taken.getsockname()[1]}"


class RelayTest(TestCase):
    @staticmethod
    def pass_to_end(sender, receiver, data):
        """What comes of what is sent meanwhile: it may be more than all buffers on the way have room for."""
        def send():
            sender.sendall(data)
            sender.close()

        thread = threading.Thread(target=send)
        thread.start()
        received = receive_to_end(receiver)
        thread.join(DEADLINE)
        return received

    def closed_address(self):
        taken, address = closed_address()
        self.addCleanup(taken.close)
        return address

    def start(self, *flags, to=None, **options):
        """A relay to a backend of the test's own, unless said otherwise."""
        if to is None:
            self.backend = self.enter(Backend())
            to = self.backend.address
        self.relay = self.enter(Relay(to, *flags, **options))

    def assert_is_cut(self):
        """A new client is: perhaps before it knows that it was connected."""
        with self.assertRaises(ConnectionResetError):
            with self.relay.connect() as client:
                client.recv(1)

    def connect(self):
        """Both ends of a connection."""
        client = self.enter(self.relay.connect())
        return client, self.enter(self.backend.accept())


class ForwardingTest(RelayTest):
    def test_bytes_go_both_ways_and_are_counted(self):
        self.start()
        client, backend = self.connect()
        client.sendall(b"question")
        self.assertEqual(receive_exactly(backend, 8), b"question")
        backend.sendall(b"the answer")
        self.assertEqual(receive_exactly(client, 10), b"the answer")
        client.close()
        self.assertEqual(receive_to_end(backend), b"")
        backend.close()
        self.assertEqual(self.relay.totals(),
                         {"connections": 1, "bytes_up": 8, "bytes_down": 10, "errors": 0, "refused": 0})

    def test_the_end_of_one_direction_is_passed_on_and_the_other_goes_on(self):
        self.start()
        client, backend = self.connect()
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_to_end(backend), b"question")
        data = pattern(1 << 20)
        self.assertTrue(self.pass_to_end(backend, client, data) == data)
        self.assertEqual(self.relay.totals()["errors"], 0)

    def test_a_server_may_speak_first_and_end_first(self):
        self.start()
        client, backend = self.connect()
        backend.sendall(b"220 ready")
        backend.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_to_end(client), b"220 ready")
        client.sendall(b"thanks")
        client.close()
        self.assertEqual(receive_to_end(backend), b"thanks")

    def test_a_reset_is_passed_on_in_both_directions(self):
        for client_resets in (True, False):
            self.start()
            client, backend = self.connect()
            client.sendall(b"x")
            self.assertEqual(receive_exactly(backend, 1), b"x")
            one, other = (client, backend) if client_resets else (backend, client)
            reset(one)
            with self.assertRaises(ConnectionResetError):
                other.recv(1)
            self.assertEqual(self.relay.totals()["errors"], 1)

    def test_much_goes_both_ways_at_once(self):
        echo = self.enter(Sluice("--protocol=raw"))
        self.start("--threads=2", to=echo.address)
        data = pattern(32 << 20)
        self.assertTrue(exchange(self.enter(self.relay.connect()), data) == data)

    def test_unix_sockets_and_ipv6_on_either_side(self):
        folder = self.enter(tempfile.TemporaryDirectory())
        places = [f"unix:{folder}/server", "[::1]:0", "unix:@" + os.path.basename(folder)]
        for i, place in enumerate(places):
            echo = self.enter(Sluice("--protocol=raw", listen=place))
            for listen in (f"unix:{folder}/relay{i}", "[::1]:0"):
                self.start(to=echo.address, listen=listen)
                self.assertEqual(exchange(self.enter(self.relay.connect()), b"hello"), b"hello")

    def test_idle_connections_end(self):
        self.start("--idle_timeout=50ms")
        client, backend = self.connect()
        for peer in (client, backend):
            with self.assertRaises(ConnectionResetError):
                peer.recv(1)
        self.assertEqual(self.relay.totals()["errors"], 1)

    def test_max_connections(self):
        self.start("--max_connections=1")
        client, backend = self.connect()
        second = self.enter(self.relay.connect())
        second.sendall(b"second")
        client.sendall(b"first")
        self.assertEqual(receive_exactly(backend, 5), b"first")
        client.close()
        backend.close()
        self.assertEqual(receive_exactly(self.enter(self.backend.accept()), 6), b"second")


class BackendsTest(RelayTest):
    def test_each_connection_goes_to_the_backend_with_the_fewest(self):
        backends = [self.enter(Backend()) for _ in range(3)]
        self.start(to=",".join(backend.address for backend in backends))
        for _ in range(4):
            for backend in backends:
                client = self.enter(self.relay.connect())
                client.sendall(b"x")
                self.assertEqual(receive_exactly(self.enter(backend.accept()), 1), b"x")

    def test_a_backend_that_is_down_is_passed_over(self):
        echo = self.enter(Sluice("--protocol=raw"))
        down = self.closed_address()
        self.start(to=f"{down},{echo.address}", merge_errors=True)
        for _ in range(20):
            self.assertEqual(exchange(self.enter(self.relay.connect()), b"hello"), b"hello")
        self.assertEqual(self.relay.read_line(), f"sluice relay: {down}: connect: Connection refused")

    def test_a_backend_that_comes_up_is_used(self):
        folder = self.enter(tempfile.TemporaryDirectory())
        self.start(to=f"unix:{folder}/socket")
        for _ in range(5):
            self.assert_is_cut()
        self.enter(Sluice("--protocol=raw", listen=f"unix:{folder}/socket"))
        self.assertEqual(exchange(self.enter(self.relay.connect()), b"hello"), b"hello")
        self.assertEqual(self.relay.totals()["errors"], 5)

    def test_without_a_backend_the_client_is_cut(self):
        self.start(to=self.closed_address())
        self.assert_is_cut()
        self.assertEqual(self.relay.totals()["errors"], 1)


class ProxyProtocolTest(RelayTest):
    def test_the_backend_is_told_in_text(self):
        self.start("--proxy_protocol_out=v1")
        client, backend = self.connect()
        client.sendall(b"hello")
        ours, relays = client.getsockname()[1], client.getpeername()[1]
        expected = f"PROXY TCP4 127.0.0.1 127.0.0.1 {ours} {relays}\r\nhello".encode()
        self.assertEqual(receive_exactly(backend, len(expected)), expected)
        self.assertEqual(self.relay.totals()["bytes_up"], 5)

    def test_the_backend_is_told_in_binary(self):
        self.start("--proxy_protocol_out=v2")
        client, backend = self.connect()
        client.sendall(b"hello")
        localhost = bytes([127, 0, 0, 1])
        expected = SIGNATURE + bytes([0x21, 0x11, 0, 12]) + localhost + localhost + struct.pack(
            "!HH", client.getsockname()[1], client.getpeername()[1]) + b"hello"
        self.assertEqual(receive_exactly(backend, len(expected)), expected)

    def test_a_client_of_a_listener_for_both_families_is_told_as_what_it_is(self):
        self.start("--proxy_protocol_out=v1", listen="*:0")
        port = int(self.relay.address.rsplit(":", 1)[1])
        client = self.enter(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))
        expected = f"PROXY TCP4 127.0.0.1 127.0.0.1 {client.getsockname()[1]} {port}\r\n".encode()
        self.assertEqual(receive_exactly(self.enter(self.backend.accept()), len(expected)), expected)

    def test_what_a_proxy_says_is_passed_on_and_changes_its_form(self):
        self.start("--proxy_protocol_in", "--proxy_protocol_out=v2")
        client = self.enter(self.relay.connect())
        for byte in b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nhello":
            client.sendall(bytes([byte]))
        expected = SIGNATURE + bytes([0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack(
            "!HH", 1000, 80) + b"hello"
        self.assertEqual(receive_exactly(self.enter(self.backend.accept()), len(expected)), expected)

    def test_a_proxys_own_connection_is_the_proxys(self):
        self.start("--proxy_protocol_in", "--proxy_protocol_out=v1")
        client = self.enter(self.relay.connect())
        client.sendall(SIGNATURE + bytes([0x20, 0, 0, 0]))
        expected = f"PROXY TCP4 127.0.0.1 127.0.0.1 {client.getsockname()[1]} {client.getpeername()[1]}\r\n".encode()
        self.assertEqual(receive_exactly(self.enter(self.backend.accept()), len(expected)), expected)

    def test_nobody_gets_in_without_a_header(self):
        self.start("--proxy_protocol_in", merge_errors=True)
        client = self.enter(self.relay.connect())
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        receive_to_end(client)
        self.assertRegex(self.relay.read_line(), r"^sluice relay: 127\.0\.0\.1:\d+: there is no PROXY protocol header")
        totals = self.relay.totals()
        self.assertEqual((totals["connections"], totals["refused"]), (0, 1))

    def test_echo_takes_a_header_too(self):
        echo = self.enter(Sluice("--protocol=raw", "--proxy_protocol_in"))
        self.start("--proxy_protocol_out=v2", to=echo.address)
        self.assertEqual(exchange(self.enter(self.relay.connect()), b"hello"), b"hello")
        with echo.connect() as client:
            client.sendall(b"hello")
            receive_to_end(client)
        self.relay.stop()
        totals = echo.totals()
        self.assertEqual((totals["connections"], totals["bytes"], totals["handshake_errors"]), (1, 5, 1))


def send_without_end(to):
    """Until the other side ends it."""
    try:
        while True:
            to.sendall(bytes(1 << 20))
    except ConnectionError:
        pass


class DrainTest(RelayTest):
    def assert_refuses(self):
        with self.assertRaises(ConnectionRefusedError):
            self.relay.connect()

    def wait_until_nobody_listens(self):
        """Without a connection to it, which would be served while it still listens."""
        listening = re.compile(r":%04X [0-9A-F:]+ 0A " % int(self.relay.address.rsplit(":", 1)[1]))
        deadline = time.monotonic() + DEADLINE
        while listening.search(pathlib.Path("/proc/net/tcp").read_text(encoding="ascii")):
            self.assertLess(time.monotonic(), deadline)

    def test_what_is_in_flight_finishes(self):
        self.start("--drain_timeout=1m")
        client, backend = self.connect()
        client.sendall(b"question")
        self.assertEqual(receive_exactly(backend, 8), b"question")
        self.relay.terminate()
        self.wait_until_nobody_listens()
        self.assert_refuses()
        data = pattern(8 << 20)
        backend.sendall(b"late answer")
        self.assertEqual(receive_exactly(client, 11), b"late answer")
        client.sendall(b"and more")
        self.assertEqual(receive_exactly(backend, 8), b"and more")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_to_end(backend), b"")
        self.assertTrue(self.pass_to_end(backend, client, data) == data)
        self.assertEqual(self.relay.totals()["errors"], 0)

    def test_what_is_idle_is_closed_in_good_order(self):
        self.start("--drain_timeout=8s")
        client, backend = self.connect()
        client.sendall(b"x")
        self.assertEqual(receive_exactly(backend, 1), b"x")
        self.relay.terminate()
        self.assertEqual(client.recv(1), b"")
        self.assertEqual(backend.recv(1), b"")
        client.close()
        backend.close()
        self.assertEqual(self.relay.totals()["errors"], 0)

    def test_who_does_not_answer_the_end_of_what_is_idle_is_no_error(self):
        self.start("--drain_timeout=4s")
        client, backend = self.connect()
        client.sendall(b"x")
        self.assertEqual(receive_exactly(backend, 1), b"x")
        self.relay.terminate()
        self.assertEqual(client.recv(1), b"")
        self.assertEqual(backend.recv(1), b"")
        self.assertEqual(self.relay.totals()["errors"], 0)

    def test_who_does_not_end_is_cut_at_the_deadline(self):
        self.start("--drain_timeout=2s")
        client, backend = self.connect()
        sender = threading.Thread(target=send_without_end, args=(client,))
        sender.start()
        self.assertEqual(self.relay.totals()["errors"], 1)
        sender.join()
        backend.close()


class StatsTest(RelayTest):
    def test_a_line_at_each_interval(self):
        down = self.closed_address()
        self.backend = self.enter(Backend())
        self.start("--stats=100ms", to=f"{down},{self.backend.address}", merge_errors=True)
        client, backend = self.connect()
        client.sendall(b"question")
        backend.sendall(b"the answer")
        receive_exactly(client, 10)
        receive_exactly(backend, 8)
        expected = (f"sluice relay: stats: connections=1 errors=0; {down} open=0 total=0 failed=1 bytes_up=0 "
                    f"bytes_down=0; {self.backend.address} open=1 total=1 failed=0 bytes_up=8 bytes_down=10")
        while (line := self.relay.read_line()) != expected:
            self.assertRegex(line, "stats: |Connection refused")


class UsageTest(TestCase):
    def assert_bad_usage(self, *flags, says):
        run = subprocess.run([os.environ["SLUICE"], "relay", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             timeout=DEADLINE, check=False)
        self.assertEqual((run.returncode, run.stdout), (2, b""))
        self.assertIn(says, run.stderr.decode())

    def test_what_is_wrong_is_named(self):
        self.assert_bad_usage(says="--to=HOST:PORT must say where to relay to")
        for to in ("nowhere", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:+1", "127.0.0.1:80/", "::1:80", "a b:80", ":80"):
            self.assert_bad_usage(f"--to=127.0.0.1:1,{to}", says=f"--to={to}: ")
        self.assert_bad_usage("--to=unix:", says="--to=unix:: ")
        self.assert_bad_usage("--to=127.0.0.1:1", "--proxy_protocol_out=3", says="takes v1 or v2")
        self.assert_bad_usage("--to=127.0.0.1:1", "--listen=here", says="--listen: ")
        self.assert_bad_usage("--to=127.0.0.1:1", "--insecure", says="--insecure: this is for TLS to the backends")
        self.assert_bad_usage("--to=127.0.0.1:1", "--to_tls", "--tls_ca=/nowhere", says="--tls_ca=/nowhere: ")
        self.assert_bad_usage("--to=127.0.0.1:1", "--tls_cert=/nowhere", says="--tls_cert")

    def test_an_address_that_is_taken_is_a_failure(self):
        with Backend() as taken:
            relay = self.enter(Process([os.environ["SLUICE"], "relay", "--to=127.0.0.1:1",
                                        f"--listen={taken.address}"], merge_errors=True))
            self.assertEqual(relay.wait(), 1)
            self.assertTrue(re.search(re.escape(taken.address), relay.read_line()))


if __name__ == "__main__":
    main()
