"""UDP with the command line: `sluice echo` against plain sockets, `bench` and `cat` against servers of plain sockets that
lose, double, swap and damage what they answer."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

from harness import DEADLINE, Sluice, TestCase, main, pattern, require

SLUICE = os.environ["SLUICE"]


def datagram_socket(family=socket.AF_INET):
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.settimeout(DEADLINE)
    return opened


def endpoint_of(address):
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def freeze(pid):
    """Returns when no thread of the process runs any more; SIGCONT goes on."""
    os.kill(pid, signal.SIGSTOP)
    give_up_at = time.monotonic() + DEADLINE
    while time.monotonic() < give_up_at:
        states = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii") as stat:
                states.append(stat.read().rsplit(")", 1)[1].split()[0])
        if set(states) == {"T"}:
            return
    raise AssertionError(f"threads of {pid} still run: {states}")


class Peer:
    """A server in this process. `answer(number, data)` says what is sent back for each datagram, as a list."""

    def __init__(self, answer):
        self.socket = datagram_socket()
        self.socket.bind(("127.0.0.1", 0))
        self.url = "udp://127.0.0.1:%d" % self.socket.getsockname()[1]
        self.received = []
        self.thread = threading.Thread(target=self.serve, args=(answer,))

    def serve(self, answer):
        while True:
            data, sender = self.socket.recvfrom(1 << 16)
            if data == b"the end of the test":
                return
            self.received.append(data)
            for reply in answer(len(self.received), data):
                self.socket.sendto(reply, sender)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with datagram_socket() as last:
            last.sendto(b"the end of the test", self.socket.getsockname())
        self.thread.join(DEADLINE)
        self.socket.close()


class EchoTest(TestCase):
    def client(self, server, family=socket.AF_INET):
        client = self.enter(datagram_socket(family))
        client.connect(endpoint_of(server.address))
        return client

    def assert_answers(self, client, sizes=(0, 1, 100, 1472, 9000, 65507)):
        for size in sizes:
            client.send(pattern(size, seed=size))
            self.assertEqual(client.recv(1 << 16), pattern(size, seed=size))

    def test_datagrams_of_every_size_come_back_whole(self):
        server = self.enter(Sluice("--protocol=udp"))
        self.assert_answers(self.client(server))
        self.assertEqual(server.totals(), {"datagrams": 6, "bytes": 76080, "unread": 0, "unsent": 0, "errors": 0})

    def test_ipv6(self):
        require(os.path.exists("/proc/net/if_inet6"), "IPv6")
        server = self.enter(Sluice("--protocol=udp", listen="[::1]:0"))
        self.assert_answers(self.client(server, socket.AF_INET6))

    def test_an_answer_leaves_from_the_address_that_was_asked(self):
        """A connected socket hears of no other."""
        server = self.enter(Sluice("--protocol=udp", listen="*:0"))
        for address in ("127.0.0.1", "127.0.0.9"):
            client = self.enter(datagram_socket())
            client.connect((address, endpoint_of(server.address)[1]))
            self.assert_answers(client)

    def test_many_senders_on_several_threads(self):
        server = self.enter(Sluice("--protocol=udp", "--threads=4"))
        clients = [self.client(server) for _ in range(200)]
        for i, client in enumerate(clients):
            client.send(pattern(300, seed=i))
        for i, client in enumerate(clients):
            self.assertEqual(client.recv(1 << 16), pattern(300, seed=i))
        self.assertEqual(server.totals()["datagrams"], 200)

    def test_a_flood_is_answered_or_counted(self):
        server = self.enter(Sluice("--protocol=udp"))
        client = self.client(server)
        for i in range(20000):
            client.send(b"%d" % i)
        totals = server.totals()
        self.assertEqual(totals["datagrams"] + totals["unread"], 20000)

    def test_a_sender_that_has_gone_is_an_error_and_no_more(self):
        server = self.enter(Sluice("--protocol=udp"))
        freeze(server.pid)
        with datagram_socket() as gone:
            gone.sendto(b"no answer, please", endpoint_of(server.address))
        os.kill(server.pid, signal.SIGCONT)
        self.assert_answers(self.client(server))
        self.assertEqual(server.totals()["errors"], 1)


class BenchTest(TestCase):
    def bench(self, answer, *flags, status=0):
        with Peer(answer) as peer:
            result = subprocess.run([SLUICE, "bench", peer.url, "--json", "--duration=300ms", "--lost_after=300ms",
                                     "--connections=2", "--pipeline=4", "--size=100", *flags],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE, check=False)
        self.assertEqual(result.returncode, status, result)
        report = json.loads(result.stdout)
        self.assertEqual(report["ok"], status == 0)
        self.assertEqual(report["sent"], report["messages"] + report["late"] + report["lost"])
        self.assertEqual(len(peer.received), report["sent"])
        return report, result.stderr.decode()

    def test_an_echo(self):
        report, said = self.bench(lambda number, data: [data])
        self.assertEqual((report["lost"], report["damaged"], said), (0, 0, ""))
        self.assertGreater(report["messages"], 8)

    def test_what_is_lost_is_counted_and_no_failure(self):
        report, _ = self.bench(lambda number, data: [data] if number % 10 else [])
        self.assertEqual(report["lost"], report["sent"] // 10)

    def test_what_comes_twice_is_counted(self):
        report, _ = self.bench(lambda number, data: [data] * (1 + (number % 10 == 0)))
        self.assertGreaterEqual(report["duplicated"], report["sent"] // 10 - 1)  # the last may come after the end
        self.assertEqual(report["lost"], 0)

    def test_what_is_overtaken_is_counted(self):
        held = {}

        def swap(number, data):
            connection = data[16:20]
            if connection in held:
                return [data, held.pop(connection)]
            if number % 8 == 1:
                held[connection] = data
                return []
            return [data]

        report, _ = self.bench(swap)
        self.assertGreater(report["reordered"], 0)
        self.assertEqual(report["damaged"], 0)

    def test_damage_is_a_failure(self):
        report, said = self.bench(lambda number, data: [data[:-1] + b"?" if number == 20 else data], status=1)
        self.assertEqual((report["damaged"], report["lost"]), (1, 1))
        self.assertIn("1 answer differed from what was sent", said)

    def test_silence_is_a_failure_that_names_the_server(self):
        report, said = self.bench(lambda number, data: [], status=1)
        self.assertEqual((report["messages"], report["lost"]), (0, report["sent"]))
        self.assertRegex(said, r"no answer came from 127\.0\.0\.1:\d+ to any of ")


class CatTest(TestCase):
    def cat(self, answer, text, *flags):
        with Peer(answer) as peer:
            result = subprocess.run([SLUICE, "cat", peer.url, *flags], input=text, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, timeout=DEADLINE, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return result.stdout, peer.received

    def test_each_line_is_a_datagram_and_each_datagram_a_line(self):
        printed, received = self.cat(lambda number, data: [b"%d: " % number + data], b"one\n\nthree\n\xff\n")
        self.assertEqual(received, [b"one", b"", b"three", b"\xff"])
        self.assertEqual(printed, b"1: one\n2: \n3: three\n4: \\xff\n")

    def test_an_answer_that_does_not_come_is_not_awaited_for_ever(self):
        printed, received = self.cat(lambda number, data: [], b"x", "--lost_after=100ms")
        self.assertEqual((printed, received), (b"", [b"x"]))


if __name__ == "__main__":
    main()
