"""The command line with --protocol=line, netstring and varint, against plain sockets and against itself."""

import json
import os
import socket

from harness import Process, Sluice, TestCase, exchange, main, pattern, receive_exactly, receive_to_end

LIMIT = 1 << 20


def netstring(message):
    return b"%d:%s," % (len(message), message)


def varint(number):
    head = bytearray()
    while number >= 128:
        head.append(number % 128 + 128)
        number //= 128
    return bytes(head) + bytes([number])


def delimited(message):
    return varint(len(message)) + message


class EchoTest(TestCase):
    """What all tests here do with a server."""

    def serve(self, *flags):
        self.server = self.enter(Sluice(*flags))

    def assert_answers(self, data, answer):
        """Also when the data comes byte by byte."""
        with self.server.connect() as client:
            self.assertEqual(exchange(client, data, len(answer)), answer)
        with self.server.connect() as client:
            for byte in data:
                client.sendall(bytes([byte]))
            self.assertEqual(receive_exactly(client, len(answer)), answer)

    def assert_ends(self, good, bad):
        """After what is good comes back, what is bad ends the connection without an answer."""
        with self.server.connect() as client:
            self.assertEqual(exchange(client, good), good)
            client.sendall(bad)
            self.assertEqual(receive_to_end(client), b"", bad)

    def assert_totals(self, messages, errors):
        totals = self.server.totals()
        self.assertEqual((totals["messages"], totals["errors"]), (messages, errors))


class LineTest(EchoTest):
    def test_both_endings_are_accepted_and_lf_is_sent(self):
        self.serve("--protocol=line")
        self.assert_answers(b"one\ntwo\r\n\n\r\nthree\r\nc\rr\n",
                            b"one\ntwo\n\n\nthree\nc\rr\n")
        self.assert_totals(12, 0)

    def test_crlf_is_sent_where_it_was_chosen(self):
        self.serve("--protocol=line", "--codec=ending=crlf")
        self.assert_answers(b"one\ntwo\r\n\r\r\n", b"one\r\ntwo\r\n\r\r\n")

    def test_where_only_crlf_is_accepted_lf_ends_the_connection(self):
        self.serve("--protocol=line", "--codec=ending=crlf,strict=true")
        self.assert_ends(b"good\r\n", b"bad\n")
        self.assert_totals(1, 1)

    def test_where_only_lf_is_accepted_cr_is_of_the_line(self):
        self.serve("--protocol=line", "--codec=strict=true")
        self.assert_answers(b"one\r\ntwo\n", b"one\r\ntwo\n")
        self.assertEqual(self.server.totals()["bytes"], 2 * len(b"one\rtwo"))

    def test_a_line_over_the_limit_ends_the_connection(self):
        self.serve("--protocol=line", "--max_message_bytes=10")
        for bad in (b"eleven byte", b"eleven byte\n", b"x" * 100_000):
            self.assert_ends(b"ten bytes.\n", bad)
        self.assert_totals(3, 3)

    def test_a_last_line_without_its_ending_is_an_error(self):
        self.serve("--protocol=line")
        with self.server.connect() as client:
            client.sendall(b"whole\nnot who")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_to_end(client), b"whole\n")
        self.assert_totals(1, 1)

    def test_a_long_line(self):
        self.serve("--protocol=line")
        line = pattern(LIMIT).replace(b"\n", b".").replace(b"\r", b".") + b"\n"
        with self.server.connect() as client:
            self.assertTrue(exchange(client, line) == line)


class NetstringTest(EchoTest):
    def setUp(self):
        self.serve("--protocol=netstring")

    def test_messages_come_back(self):
        data = netstring(b"hello") + b"0:," + netstring(b"\n,:5") + netstring(pattern(1000))
        self.assert_answers(data, data)
        self.assert_totals(8, 0)

    def test_messages_of_every_size_come_back(self):
        with self.server.connect() as client:
            for size in [1, 9, 10, 99, 100, 65535, LIMIT]:
                data = netstring(pattern(size, seed=size))
                self.assertTrue(exchange(client, data) == data, size)

    def test_what_is_no_netstring_ends_the_connection(self):
        bad = [b"hello", b"\n", b":,", b"05:hello,", b"5 :hello,", b"4:hello,", b"1048577:", b"9" * 1000]
        for data in bad:
            self.assert_ends(b"2:ok,", data)
        self.assert_totals(len(bad), len(bad))


class VarintTest(EchoTest):
    def setUp(self):
        self.serve("--protocol=varint")

    def test_messages_come_back(self):
        data = delimited(b"hello") + delimited(b"") + delimited(pattern(127)) + delimited(pattern(300))
        self.assert_answers(data, data)
        self.assert_totals(8, 0)

    def test_messages_of_every_size_come_back(self):
        with self.server.connect() as client:
            for size in [128, 16383, 16384, LIMIT]:
                data = delimited(pattern(size, seed=size))
                self.assertTrue(exchange(client, data) == data, size)

    def test_a_length_over_the_limit_ends_the_connection(self):
        bad = [varint(LIMIT + 1), varint(1 << 32), varint((1 << 64) - 1), b"\x80" * 10 + b"\0", b"\xff" * 100]
        for data in bad:
            self.assert_ends(b"\2ok", data)
        self.assert_totals(len(bad), len(bad))


class ClientsTest(TestCase):
    def run_sluice(self, *words, stdin=b""):
        process = self.enter(Process([os.environ["SLUICE"], *words]))
        process.write(stdin)
        process.end_input()
        lines = process.read_rest()
        self.assertEqual(process.wait(), 0, lines)
        return lines

    def test_bench(self):
        for protocol in ("line", "netstring", "varint"):
            server = self.enter(Sluice(f"--protocol={protocol}"))
            report = json.loads(self.run_sluice("bench", f"{protocol}://{server.address}", "--json", "--duration=100ms",
                                                "--connections=3", "--pipeline=4", "--size=200")[0])
            self.assertEqual((report["ok"], report["verified"], report["errors_total"]), (True, True, 0), report)
            self.assertGreaterEqual(report["messages"], 12)
            self.assertEqual(server.totals()["bytes"], report["bytes"])

    def test_cat(self):
        for protocol in ("line", "netstring", "varint"):
            server = self.enter(Sluice(f"--protocol={protocol}"))
            lines = self.run_sluice("cat", f"{protocol}://{server.address}", stdin="one\n\nzwölf\n".encode())
            self.assertEqual(lines, ["one", "", "zwölf"])
            self.assertEqual(server.totals()["messages"], 3)

    def test_cat_speaks_as_its_options_say(self):
        server = self.enter(Sluice("--protocol=line", "--codec=ending=crlf,strict=true"))
        lines = self.run_sluice("cat", f"line://{server.address}", "--codec=ending=crlf,strict=true", stdin=b"one\n")
        self.assertEqual(lines, ["one"])


if __name__ == "__main__":
    main()
