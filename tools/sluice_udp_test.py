"""echo, bench and cat over UDP, as their users run them.

  sluice_udp_test.py SLUICE [unittest's arguments]      run by //tools:sluice_udp_test
"""

import json
import os
import signal
import socket
import subprocess
import sys
import unittest

from sluice_testing import PATIENCE, SLUICE, Echo, run


class UdpTest(unittest.TestCase):

    def test_datagrams_come_back(self):
        with Echo("--protocol=udp", "--threads=2") as echo, socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            host, port = echo.address.rsplit(":", 1)
            client.connect((host, int(port)))
            sizes = (0, 1, 1472, 1473, 65507)
            for size in sizes:
                data = os.urandom(size)
                client.send(data)
                self.assertEqual(client.recv(65536), data)
            self.assertEqual(echo.stop(), {"datagrams": len(sizes), "bytes": sum(sizes), "unread": 0, "unsent": 0,
                                           "errors": 0})

    def test_bench_says_what_came_of_it(self):
        with Echo("--protocol=udp") as echo:
            for size, host in ((24, echo.address), (1200, echo.address.replace("127.0.0.1", "localhost"))):
                result = run("bench", f"udp://{host}", "--json", "--duration=100ms", "--connections=4", "--pipeline=3",
                             "--threads=2", f"--size={size}")
                self.assertEqual((result.returncode, result.stderr), (0, b""))
                report = json.loads(result.stdout)
                self.assertTrue(report["ok"], report)
                self.assertEqual((report["protocol"], report["size"], report["damaged"], report["duplicated"]),
                                 ("udp", size, 0, 0))
                self.assertGreaterEqual(report["sent"], 12)
                self.assertEqual(report["sent"], report["messages"] + report["late"] + report["lost"])
            result = run("bench", f"udp://{echo.address}", "--duration=100ms", env={"LC_ALL": "C"})
            self.assertEqual(result.returncode, 0)
            self.assertIn("datagrams/s", result.stdout.decode())
            self.assertRegex(result.stdout.decode(), r"\nsent [\d,]+: lost .*, late .*, duplicated 0, reordered 0, damaged 0\n")

    def test_ctrl_c_ends_bench_with_a_report(self):
        with Echo("--protocol=udp") as echo:
            bench = subprocess.Popen([SLUICE, "bench", f"udp://{echo.address}", "--json", "--duration=inf"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            while b" datagrams/s" not in bench.stderr.readline():
                self.assertIsNone(bench.poll())
            bench.send_signal(signal.SIGINT)
            out, _ = bench.communicate(timeout=PATIENCE)
            self.assertEqual(bench.returncode, 0)
            self.assertTrue(json.loads(out)["ok"])

    def test_lines_go_out_and_come_back(self):
        with Echo("--protocol=udp") as echo:
            result = run("cat", f"udp://{echo.address}", "--verbose", stdin=b"one\n\ntwo")
            self.assertEqual((result.returncode, result.stdout), (0, b"one\n\ntwo\n"))
            self.assertRegex(result.stderr.decode(), rf"^datagrams go from \S+ to {echo.address}\n$")
            self.assertEqual(echo.stop()["datagrams"], 3)

    def test_nobody_there(self):
        with socket.socket(type=socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % taken.getsockname()[1]
        result = run("bench", f"udp://{address}", "--json", "--duration=50ms", "--lost_after=50ms")
        self.assertEqual(result.returncode, 1)
        self.assertFalse(json.loads(result.stdout)["ok"])
        self.assertRegex(result.stderr.decode(), f"no answer came from {address} to any of .*refused")
        result = run("cat", f"udp://{address}", stdin=b"x")
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        self.assertIn(address, result.stderr.decode())

    def test_a_port_in_use_is_a_failure_that_names_it(self):
        with Echo("--protocol=udp", "--threads=2") as echo:
            result = run("echo", "--protocol=udp", f"--listen={echo.address}", "--threads=2")
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertIn(echo.address, result.stderr.decode())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
