"""`sluice bench` and `sluice cat` against servers that others wrote.

  tool_clients_test.py ws|websockets|aiohttp       what the real peer is
"""

import json
import os
import subprocess
import sys

from endpoint import EchoServer, Endpoint
from harness import DEADLINE, Process, TestCase, main

KIND = sys.argv[1]
SLUICE = os.environ["SLUICE"]


def run(*arguments, data=b""):
    """Exit status, output and errors of a run of sluice."""
    done = subprocess.run([SLUICE, *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=DEADLINE, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class BenchTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enter_for_all(EchoServer(KIND))

    def assert_all_comes_back(self, *flags):
        status, output, errors = run("bench", self.server.url, "--json", "--duration=200ms", *flags)
        self.assertEqual(status, 0, errors)
        report = json.loads(output)
        self.assertTrue(report["ok"] and report["verified"], report)
        self.assertGreater(report["messages"], 0)
        return report

    def test_every_message_comes_back_as_it_was_sent(self):
        report = self.assert_all_comes_back("--connections=10", "--pipeline=4")
        self.assertEqual(report["connections_opened"], 10)

    def test_messages_of_each_length_form(self):
        for size in ["125", "126", "65535", "65536", "1MiB"]:
            self.assert_all_comes_back("--connections=2", f"--size={size}")

    def test_several_loops(self):
        self.assert_all_comes_back("--connections=20", "--threads=2")

    def test_nobody_there_is_a_failure_that_names_the_address(self):
        gone = EchoServer(KIND)
        with gone:
            pass
        status, output, errors = run("bench", gone.url, "--duration=200ms")
        self.assertEqual(status, 1)
        self.assertIn(f"127.0.0.1:{gone.port}", output + errors)


class CatEchoTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enter_for_all(EchoServer(KIND))

    def test_lines_come_back_and_the_end_of_input_closes(self):
        lines = "hello\nGrüße, 世界\n\nlast"
        status, output, errors = run("cat", self.server.url, data=lines.encode())
        self.assertEqual((status, output, errors), (0, lines + "\n", ""))

    def test_many_lines_keep_their_order(self):
        lines = "".join(f"line {i} {'x' * (i % 300)}\n" for i in range(3000))
        status, output, _ = run("cat", self.server.url, data=lines.encode())
        self.assertEqual(status, 0)
        self.assertTrue(output == lines)


class CatTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.endpoint = cls.enter_for_all(Endpoint(KIND))
        cls.endpoint.command("serve")
        cls.port = cls.endpoint.expect("listening")["port"]

    def start(self):
        cat = self.enter(Process([SLUICE, "cat", f"ws://127.0.0.1:{self.port}/chat"]))
        self.endpoint.expect("open")
        return cat

    def test_text_is_a_line_and_so_is_what_the_server_says(self):
        cat = self.start()
        cat.write(b"from the client\n")
        self.assertEqual(self.endpoint.receive(), "from the client")
        cat.write(b"not UTF-8: \xff\n")
        self.assertEqual(self.endpoint.receive(), b"not UTF-8: \xff")
        self.endpoint.send("from the server")
        self.assertEqual(cat.read_line(), "from the server")
        self.endpoint.send("two\nlines")
        self.assertEqual(cat.read_line(), r"two\nlines")
        cat.end_input()
        self.assertEqual(self.endpoint.expect_close(), (1000, ""))
        self.assertEqual(cat.wait(), 0)

    def test_a_server_that_goes_away_is_an_orderly_end(self):
        for code in [1000, 1001]:
            cat = self.start()
            self.endpoint.close(code)
            self.assertEqual(cat.wait(), 0)
            self.endpoint.expect_close()

    def test_a_server_that_closes_for_trouble_is_a_failure(self):
        cat = self.start()
        self.endpoint.close(1011, "out of order")
        self.assertEqual(cat.wait(), 1)
        self.endpoint.expect_close()

    def test_a_server_that_vanishes_is_a_failure(self):
        cat = self.start()
        self.endpoint.command("terminate")
        self.assertEqual(cat.wait(), 1)
        self.endpoint.expect_close()

    def test_a_refusal_is_a_failure_that_names_the_status(self):
        status, output, errors = run("cat", f"ws://127.0.0.1:{self.port}/refused")
        self.assertEqual((status, output), (1, ""))
        self.assertIn("403", errors)


if __name__ == "__main__":
    main()
