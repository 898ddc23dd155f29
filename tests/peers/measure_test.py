"""measure.py: whatever goes wrong with a server or a load is told as Failed, with what was said; nothing is left behind."""

import os
import tempfile
import unittest

import cells
import measure
import peers

LISTENS = "echo listening on 127.0.0.1:0"
FOREVER = "exec tail -f /dev/null"
RAW, CALLS, LATENCY = (cells.BY_NAME[name] for name in ("raw_64x1", "calls_raw", "latency_raw"))


def peer_of(script, **more):
    return peers.Peer("it", ("raw",), None, lambda place, built, wire: ["sh", "-c", script], None, **more)


def bench_with(load):
    return measure.Bench(None, {"it": None, "sluice": None}, load, 0.01, 10)


class ServerTest(unittest.TestCase):
    def test_one_that_does_not_start_is_told_with_its_last_words(self):
        with self.assertRaisesRegex(measure.Failed, "no such thing"):
            measure.start(peer_of("echo no such thing >&2"), None, None, "raw")

    def test_a_program_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(measure.Failed, "nonesuch"):
            measure.start(peer_of("exec nonesuch"), None, None, "raw")

    def test_one_that_may_be_tried_again_is(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"cd {folder}; test -e here && {LISTENS} && {FOREVER}; touch here"
            measure.start(peer_of(script, attempts=2), None, None, "raw").stop()

    def test_it_is_on_the_processor_of_servers_and_is_gone_when_stopped(self):
        server = measure.start(peer_of(f"{LISTENS}; {FOREVER}"), None, None, "raw")
        self.assertEqual({measure.processors()[0]}, os.sched_getaffinity(server.pid))
        server.stop()
        self.assertFalse(os.path.exists(f"/proc/{server.pid}"))


class BenchTest(unittest.TestCase):
    def failure(self, cell, load, script=f"{LISTENS}; {FOREVER}"):
        with bench_with(load) as bench, self.assertRaises(measure.Failed) as raised:
            bench.measure(cell, peer_of(script))
        return str(raised.exception)

    def test_a_load_that_says_nothing_of_use_is_a_failure(self):
        self.assertIn("JSONDecodeError", self.failure(RAW, "echo"))
        self.assertIn("nonesuch", self.failure(RAW, "/nonesuch"))
        self.assertIn("nonesuch", self.failure(CALLS, "/nonesuch"))

    def test_what_the_server_said_last_is_told(self):
        script = f"echo oh dear >&2; {LISTENS}; {FOREVER}"
        self.assertIn("oh dear", self.failure(RAW, "false", script))

    def test_sluice_is_named_where_its_rate_is_what_failed(self):
        sluice = peers.SLUICE
        self.addCleanup(setattr, peers, "SLUICE", sluice)
        peers.SLUICE = peer_of("echo no such thing")._replace(name="sluice")
        self.assertRegex(self.failure(LATENCY, "echo"), "sluice's.*no such thing")


if __name__ == "__main__":
    unittest.main(verbosity=2)
