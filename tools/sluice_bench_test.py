"""`sluice bench` as its users run it.

  sluice_bench_test.py SLUICE [unittest's arguments]      run by //tools:sluice_bench_test
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

from sluice_testing import PATIENCE, SLUICE, Echo, Fake, Terminal, receive, run, until_end


class Bench:
    """`sluice bench --duration=inf`, to be stopped. It does not outlive a test that fails."""

    def __init__(self, *words):
        self.process = subprocess.Popen([SLUICE, "bench", "--json", "--duration=inf", *words], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.limit = threading.Timer(PATIENCE, self.process.kill)
        self.limit.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.limit.cancel()
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def await_progress(self, messages=1):
        """Until the next line that tells of so many messages."""
        for line in iter(self.process.stderr.readline, b""):
            match = re.search(rb" ([\d,]+) in all ", line)
            if match and int(match[1].replace(b",", b"")) >= messages:
                return
        raise AssertionError(f"no progress; status {self.process.wait(PATIENCE)}")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self.report()

    def report(self):
        """Waits for the end."""
        out, err = self.process.communicate(timeout=PATIENCE)
        if not out:
            raise AssertionError(f"status {self.process.returncode}: {err}")
        return json.loads(out)


class BenchTest(unittest.TestCase):

    def bench(self, url, *flags):
        result = run("bench", url, "--json", "--duration=100ms", *flags)
        lines = result.stdout.decode().splitlines()
        self.assertEqual(len(lines), 1, result)
        report = json.loads(lines[0])
        self.assertEqual(report["ok"], result.returncode == 0)
        self.assertIn(result.returncode, (0, 1))
        self.assertEqual(report["errors_total"], sum(report["errors"].values()))
        return report

    def assert_bad_usage(self, *flags, says, url="tcp://[::1]:1"):
        result = run("bench", url, *flags)
        self.assertEqual(result.returncode, 2, result)
        self.assertIn(says, result.stderr.decode())

    def test_json_has_what_came_of_it(self):
        for scheme, protocol in (("tcp", "raw"), ("frame", "frame"), ("ws", "websocket")):
            with Echo(f"--protocol={protocol}") as echo:
                report = self.bench(f"{scheme}://{echo.address}", "--connections=4", "--pipeline=3", "--size=100",
                                    "--threads=2")
                self.assertTrue(report["ok"], report)
                self.assertTrue(report["verified"])
                self.assertEqual((report["protocol"], report["connections"], report["connections_opened"],
                                  report["pipeline"], report["size"], report["threads"]), (protocol, 4, 4, 3, 100, 2))
                self.assertGreaterEqual(report["messages"], 12)
                self.assertEqual(report["bytes"], 100 * report["messages"])
                self.assertGreaterEqual(report["seconds"], 0.1)
                self.assertAlmostEqual(report["messages_per_second"], report["messages"] / report["seconds"],
                                       delta=0.01 * report["messages_per_second"])
                latency = report["latency_ns"]
                self.assertEqual(list(latency), ["min", "mean", "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "max"])
                ranks = [latency[name] for name in latency if name != "mean"]
                self.assertEqual(ranks, sorted(ranks))
                totals = echo.stop()
                self.assertEqual((totals["bytes"], totals["errors"]), (report["bytes"], 0))

    def test_messages_are_compressed_where_the_server_agrees(self):
        for server, compressed in ((("--deflate",), 3), ((), 0)):
            with Echo("--protocol=websocket", *server) as echo:
                report = self.bench(f"ws://{echo.address}", "--connections=3", "--deflate", "--text")
                self.assertTrue(report["ok"], report)
                self.assertTrue(report["text"])
                self.assertEqual((report["connections_opened"], report["connections_compressed"]), (3, compressed))
                self.assertEqual(echo.stop()["bytes"], report["bytes"])

    def test_the_report_says_whether_messages_are_compressed(self):
        with Echo("--protocol=websocket", "--deflate") as echo:
            result = run("bench", f"ws://{echo.address}", "--connections=3", "--duration=100ms", "--deflate")
            self.assertIn("compression agreed on for 3 of 3 connections; random bytes do not become less (--text)\n",
                          result.stdout.decode())

    def test_the_report_is_a_table_and_a_picture(self):
        with Echo() as echo:
            for locale, bar, other in (("C.UTF-8", "█", "#"), ("C", "#", "█")):
                result = run("bench", f"tcp://{echo.address}", "--duration=100ms", env={"LC_ALL": locale})
                self.assertEqual(result.returncode, 0)
                text = result.stdout.decode()
                self.assertIn("messages/s", text)
                self.assertIn("p99", text)
                self.assertIn(bar, text)
                self.assertNotIn(other, text)
                self.assertNotIn("\x1b", text)
                self.assertIn("no errors; every message came back as it was sent\n", text)
                if locale == "C":
                    self.assertTrue(text.isascii(), text)

    def test_a_terminal_sees_a_live_line(self):
        with Echo() as echo:
            terminal = Terminal()
            result = subprocess.run([SLUICE, "bench", f"tcp://{echo.address}", "--duration=500ms"], timeout=PATIENCE,
                                    stdout=subprocess.PIPE, stderr=terminal.other, env={"TERM": "xterm"})
            shown = terminal.close()
            self.assertEqual(result.returncode, 0)
            self.assertRegex(shown, r"^\r\x1b\[K.* messages/s ")
            self.assertTrue(shown.endswith("\r\x1b[K"), shown)
            self.assertNotIn("\n", shown)

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
        report = self.bench(f"tcp://{address}", "--connections=3")
        self.assertEqual((report["errors"]["connect"], report["errors_total"], report["messages"]), (3, 3, 0))
        self.assertIn(address, report["first_error"])

    def test_more_connections_than_a_process_may_have(self):
        for url, flags, connections, divide in (
                ("tcp://127.0.0.1:1", [], 100,
                 "give each of several --threads a table of its own with --own_descriptor_tables, "),
                ("tcp://127.0.0.1:1", ["--own_descriptor_tables"], 50, ""),
                ("udp://127.0.0.1:1", [], 100, "")):
            done = subprocess.run(["/bin/sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", SLUICE, "bench", url,
                                   "--connections=100", "--threads=2", *flags],
                                  capture_output=True, timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{connections} connections take a descriptor each, and a process may have 64 (RLIMIT_NOFILE): "
                          f"raise it with ulimit -n or LimitNOFILE=, {divide}or run several processes\n",
                          done.stderr.decode())

    def test_a_server_that_is_killed(self):
        for scheme, protocol in (("tcp", "raw"), ("ws", "websocket")):
            with Echo(f"--protocol={protocol}") as echo:
                with Bench(f"{scheme}://{echo.address}", "--connections=5") as bench:
                    bench.await_progress()
                    echo.process.kill()
                    report = bench.report()
                    self.assertEqual(bench.process.returncode, 1)
                    self.assertEqual((report["errors"]["closed"], report["errors_total"]), (5, 5), report)
                    self.assertFalse(report["ok"])

    def test_a_server_that_lies_stalls_closes_or_talks_nonsense(self):
        def lie(connection):
            connection.sendall(bytes(len(receive(connection, 100))))
            until_end(connection)

        def close(connection):
            receive(connection, 100)
            connection.shutdown(socket.SHUT_WR)

        def talk_nonsense(connection):
            connection.sendall(b"\xff" * 10)
            until_end(connection)

        for scheme, serve, kind in (("tcp", lie, "mismatch"), ("tcp", until_end, "timeout"), ("tcp", close, "closed"),
                                    ("frame", talk_nonsense, "protocol"), ("ws", talk_nonsense, "connect"),
                                    ("ws", until_end, "connect")):
            with Fake(serve) as fake:
                result = run("bench", f"{scheme}://{fake.address}", "--json", "--duration=inf", "--timeout=300ms",
                             "--size=100", "--connections=2")
                self.assertEqual(result.returncode, 1)
                report = json.loads(result.stdout)
                self.assertEqual((report["errors"][kind], report["errors_total"]), (2, 2), (kind, report))
                self.assertNotEqual(report["first_error"], "")

    def test_errors_are_named_in_the_report(self):
        with Fake(until_end) as fake:
            result = run("bench", f"tcp://{fake.address}", "--duration=inf", "--timeout=100ms", "--connections=2")
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"errors: timeout 2\n  the first: no answer for 100ms\n", result.stdout)

    def test_ctrl_c_ends_it_with_a_report(self):
        with Echo() as echo, Bench(f"tcp://{echo.address}") as bench:
            bench.await_progress()
            self.assertTrue(bench.interrupt()["ok"])
            self.assertEqual(bench.process.returncode, 0)
            self.assertEqual(echo.stop()["errors"], 0)

    def test_bad_values_are_answered_with_good_ones(self):
        for rate in ("0", "-1", "inf", "many"):
            self.assert_bad_usage(f"--rate={rate}",
                                  says="--rate takes a number from 0.001 to 10000000, such as 0.5 or 20000, or none")
        for flag in ("think_time", "warm_up"):
            for value in ("-1s", "inf", "5"):
                self.assert_bad_usage(f"--{flag}={value}",
                                      says=f"--{flag} takes a duration of 0 or more, such as 500ms, 5s or 1m30s")
        for flag in ("reconnect", "pid"):
            for value in ("0", "-1", "x"):
                self.assert_bad_usage(f"--{flag}={value}", says=f"--{flag} takes a whole number from 1 to ")
        for size in ("64:0", "64,128", "0:1"):
            self.assert_bad_usage(f"--size={size}", says="--size takes one size, or up to 16 with weights, such as 64:80,")
        self.assert_bad_usage("--rate=5", "--think_time=1s", says="--think_time and --rate do not go together")
        for flag in ("--think_time=1s", "--reconnect=1"):
            self.assert_bad_usage(flag, url="udp://[::1]:1", says=f"{flag.split('=')[0]} means nothing with udp://")
        self.assert_bad_usage("--size=64:1,65508:1", url="udp://[::1]:1",
                              says="--size=64:1,65508:1: over udp:// it is 24 to 65507")

    def test_a_rate_is_kept(self):
        for scheme, protocol in (("ws", "websocket"), ("udp", "udp")):
            with Echo(f"--protocol={protocol}") as echo:
                result = run("bench", f"{scheme}://{echo.address}", "--json", "--rate=100", "--duration=500ms",
                             "--threads=2", "--pipeline=50", "--timeout=60s" if scheme == "ws" else "--lost_after=60s")
                self.assertEqual(result.returncode, 0, result)
                report = json.loads(result.stdout)
                self.assertEqual((report["messages"], report["rate"], report["rate_reached"], report["unsent"]),
                                 (50, 100, True, 0))

    def test_a_rate_that_is_not_reached_is_told(self):
        with Fake(until_end) as fake:
            result = run("bench", f"tcp://{fake.address}", "--rate=50", "--connections=1", "--pipeline=2",
                         "--duration=200ms", "--timeout=2s")
            self.assertIn("the rate of 50.0 messages/s was not reached; 8 messages that were due had not been sent at the "
                          "end\n", result.stdout.decode())

    def test_sizes_are_mixed(self):
        with Echo("--protocol=frame") as echo:
            report = self.bench(f"frame://{echo.address}", "--size=10:50,1000:50", "--pipeline=10")
            self.assertTrue(report["ok"], report)
            self.assertEqual((report["size"], report["sizes"]), (505, "10:50,1000:50"))
            self.assertTrue(10 * report["messages"] < report["bytes"] < 1000 * report["messages"], report)
            self.assertEqual(echo.stop()["bytes"], report["bytes"])

    def test_connections_are_renewed(self):
        for scheme, protocol in (("tcp", "raw"), ("ws", "websocket")):
            with Echo(f"--protocol={protocol}") as echo, \
                    Bench(f"{scheme}://{echo.address}", "--reconnect=1", "--connections=5", "--threads=2",
                          "--timeout=60s") as bench:
                bench.await_progress(messages=6)
                report = bench.interrupt()
                self.assertTrue(report["ok"], report)
                self.assertEqual(report["connections_opened"], 5)
                # A connection carries one message, or none where it was open only at the end.
                self.assertGreaterEqual(5 + report["reconnects"], report["messages"])
                self.assertGreaterEqual(echo.stop()["connections"], report["messages"])
                self.assertGreater(report["reconnects_per_second"], 0)
                self.assertGreater(report["time_to_connect_ns"]["p50"], 0)

    def test_the_report_tells_of_renewed_connections(self):
        with Echo() as echo:
            result = run("bench", f"tcp://{echo.address}", "--reconnect=3", "--duration=100ms")
            self.assertIn("Each connection was closed after 3 messages; the next one took so long to open\n",
                          result.stdout.decode())

    def test_thinking_connections_send_rarely(self):
        with Echo() as echo:
            report = self.bench(f"tcp://{echo.address}", "--think_time=1h", "--connections=5", "--warm_up=10ms")
            self.assertTrue(report["ok"], report)
            self.assertLessEqual(report["messages"], 1)  # the first one is not in the warm-up, on a slow machine
            self.assertEqual((report["think_time_seconds"], report["warm_up_seconds"]), (3600, 0.01))

    def test_the_server_is_looked_at(self):
        for scheme, protocol in (("tcp", "raw"), ("udp", "udp")):
            with Echo(f"--protocol={protocol}") as echo:
                flags = [f"{scheme}://{echo.address}", "--duration=500ms", f"--pid={echo.process.pid}"]
                result = run("bench", *flags, "--json")
                self.assertEqual(result.returncode, 0, result)
                server = json.loads(result.stdout)["server"]
                self.assertGreater(server["anonymous_bytes"], 10_000)
                self.assertGreaterEqual(server["peak_bytes"], server["anonymous_bytes"])
                self.assertGreater(server["seconds"], 0)
                self.assertAlmostEqual(server["cpu_share"] * server["seconds"],
                                       server["user_seconds"] + server["system_seconds"], delta=1e-6)
                self.assertGreater(server["messages"], 0)
                self.assertIn(" of anonymous memory, and at its peak ", run("bench", *flags).stdout.decode())

    def test_a_process_that_is_not_there_is_told_before_the_load(self):
        ended = subprocess.Popen([SLUICE, "help"], stdout=subprocess.DEVNULL)
        ended.communicate(timeout=PATIENCE)
        result = run("bench", "tcp://[::1]:1", f"--pid={ended.pid}", "--duration=inf")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.decode(), f"sluice bench: --pid: there is no process {ended.pid}\n")

    def test_a_process_that_ends_is_told_and_the_page_still_has_the_load_over_time(self):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder, Echo() as echo:
            name = os.path.join(folder, "report.html")
            other = subprocess.Popen([SLUICE, "cat", f"tcp://{echo.address}"], stdin=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL)
            self.addCleanup(other.wait, PATIENCE)
            self.addCleanup(other.kill)
            with Bench(f"tcp://{echo.address}", f"--pid={other.pid}", f"--report={name}") as bench:
                bench.await_progress()
                other.communicate(timeout=PATIENCE)
                bench.await_progress()
                report = bench.interrupt()
                self.assertEqual(bench.process.returncode, 0)
                self.assertIn(str(other.pid), report["server"]["error"])
            with open(name, encoding="utf-8") as file:
                throughput = file.read().split("<figcaption>")[1]
            # From one sample to another.
            self.assertRegex(throughput, r'<path class="line[^"]*" d="M[^L"]*L')

    def test_the_page_is_written(self):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder:
            for scheme, protocol in (("ws", "websocket"), ("udp", "udp")):
                name = os.path.join(folder, f"{scheme}.html")
                with open(name, "w", encoding="utf-8") as old:
                    old.write("an older report\n" * 10000)
                with Echo(f"--protocol={protocol}") as echo:
                    url = f"{scheme}://{echo.address}"
                    result = run("bench", url, "--duration=300ms", f"--report={name}", f"--pid={echo.process.pid}")
                    self.assertEqual(result.returncode, 0, result)
                with open(name, encoding="utf-8") as file:
                    page = file.read()
                self.assertTrue(page.startswith("<!DOCTYPE html>\n"))
                self.assertTrue(page.endswith("</html>\n"))
                self.assertIn(f"<h1>Load on {url}</h1>", page)
                self.assertEqual(re.findall(r"<figcaption>(.*?)</figcaption>", page),
                                 ["Throughput over time", "Latency over time", "Distribution of latencies",
                                  "Latency by percentile", "Processor time of the server", "Memory of the server"])

    def test_a_page_that_cannot_be_written_is_told_before_the_load(self):
        with Echo() as echo:
            result = run("bench", f"tcp://{echo.address}", "--duration=inf", "--report=/nowhere/x.html")
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr.decode(),
                             "sluice bench: --report: cannot write /nowhere/x.html: No such file or directory\n")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
