"""`sluice cat` and `sluice bench` connect by name in a network that is slow, loses packets, and of which a whole family of
addresses leads nowhere.
"""

import json
import os
import socket
import subprocess

import network
from harness import DEADLINE, Server, TestCase, main, pattern, require

SLUICE = os.path.abspath(os.environ["SLUICE"])  # in another mount namespace, too
# A connection that waited for the one that leads nowhere would take longer than this.
TIMEOUT = "20s"
TRIES = 10


class CountTest(TestCase):
    def test_what_kernels_send_by_themselves_is_no_try(self):
        def ipv6(protocol):
            return bytes([0x60, 0, 0, 0, 0, 0, protocol, 64]) + bytes(32)

        def ipv4(protocol):
            return bytes([0x45, 0, 0, 20, 0, 0, 0, 0, 64, protocol]) + bytes(10)

        for packet in (ipv6(socket.IPPROTO_ICMPV6), ipv6(socket.IPPROTO_UDP), ipv4(socket.IPPROTO_ICMP)):
            self.assertFalse(network.carries_tcp(packet))
        for packet in (ipv6(socket.IPPROTO_TCP), ipv4(socket.IPPROTO_TCP)):
            self.assertTrue(network.carries_tcp(packet))


class NamesTest(TestCase):
    @classmethod
    def setUpClass(cls):
        missing = network.what_is_missing()
        require(not missing, missing)

    def start(self, **options):
        wire = self.enter(network.Wire(**options))
        server = self.enter(Server(wire.on_server([SLUICE, "echo", "--listen=*:0"])))
        self.url = f"tcp://server.test:{server.address.rsplit(':', 1)[1]}"
        return wire

    def run_client(self, wire, *words, data=b"", addresses=network.SERVER):
        return subprocess.run(wire.on_client([SLUICE, *words, f"--timeout={TIMEOUT}"], {"server.test": addresses}),
                              input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=4 * DEADLINE,
                              check=False)

    def echo(self, wire, data):
        """The server's address through which the data came back."""
        done = self.run_client(wire, "cat", self.url, "--verbose", data=data)
        self.assertEqual((done.returncode, done.stdout == data), (0, True), done.stderr)
        port = self.url.rsplit(":", 1)[1]
        words = {f"connected to [{network.SERVER[0]}]:{port}\n": network.SERVER[0],
                 f"connected to {network.SERVER[1]}:{port}\n": network.SERVER[1]}
        self.assertIn(done.stderr.decode(), words)
        return words[done.stderr.decode()]

    def test_ipv6_is_preferred_where_both_families_work(self):
        wire = self.start()
        data = pattern(1 << 20)
        # A busy machine may have the answer about IPv6 later than a connection waits for it.
        for _ in range(TRIES):
            address = self.echo(wire, data)
            if address == network.SERVER[0]:
                break
        self.assertEqual(address, network.SERVER[0])

    def test_where_ipv6_leads_nowhere_ipv4_connects(self):
        wire = self.start(delay=0.08, loss=0.02)
        wire.swallows_ipv6 = True
        self.assertEqual(wire.swallowed, 0)
        for _ in range(TRIES):  # as above
            self.assertEqual(self.echo(wire, pattern(1 << 17)), network.SERVER[1])
            if wire.swallowed:
                break
        self.assertGreater(wire.swallowed, 0)  # it was tried

    def test_where_ipv4_leads_nowhere_ipv6_connects(self):
        wire = self.start(delay=0.08, loss=0.02)
        wire.swallows_ipv4 = True
        self.assertEqual(self.echo(wire, pattern(1 << 17)), network.SERVER[0])

    def test_many_connections_through_a_bad_network(self):
        wire = self.start(delay=0.08, loss=0.02)
        wire.swallows_ipv6 = True
        done = self.run_client(wire, "bench", self.url, "--connections=20", "--size=2000", "--duration=2s", "--json")
        report = json.loads(done.stdout)
        self.assertEqual((report["connections_opened"], report["errors_total"]), (20, 0), report)
        self.assertGreater(report["messages"], 0)
        self.assertGreater(wire.lost, 0)

    def test_where_all_lead_nowhere_each_is_named(self):
        wire = self.start()
        wire.swallows_ipv4 = wire.swallows_ipv6 = True
        name, port = self.url[len("tcp://"):].rsplit(":", 1)
        expected = (f"sluice cat: {name}:{port}: no connection within 3s: [{network.SERVER[0]}]:{port}: connect: no "
                    f"answer; {network.SERVER[1]}:{port}: connect: no answer\n")
        for _ in range(TRIES):  # as above
            done = subprocess.run(
                wire.on_client([SLUICE, "cat", self.url, "--timeout=3s"], {"server.test": network.SERVER}),
                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=DEADLINE, check=False)
            self.assertEqual(done.returncode, 1)
            if done.stderr.decode() == expected:
                break
        self.assertEqual(done.stderr.decode(), expected)

    def test_a_host_without_an_address_of_a_family_is_no_error(self):
        wire = self.start()
        done = self.run_client(wire, "cat", self.url, data=b"x", addresses=network.SERVER[1:])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"x", b""))

    def test_a_name_that_is_not_there(self):
        wire = self.start()
        done = self.run_client(wire, "cat", "tcp://other.test:1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("other.test:1: no connection: other.test: ", done.stderr.decode())


if __name__ == "__main__":
    main()
