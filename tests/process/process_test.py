"""process.py: lines that are awaited, failures with what was said, and nothing left behind."""

import os
import select
import signal
import subprocess
import tempfile
import unittest

import process

# Far more than anything here takes.
DEADLINE = 60
FOREVER = "exec tail -f /dev/null"


def shell(script, awaited="ready", **options):
    return process.Process(["sh", "-c", script], awaited, DEADLINE, **options)


class LinesTest(unittest.TestCase):
    def test_those_that_are_awaited_come_in_turn_and_others_do_not(self):
        with shell(f"echo a=1; echo b; echo a=2 >&2; echo a=3 no; echo a=4; {FOREVER}", r"a=(\d)") as it:
            self.assertEqual(["1", "2", "4"], [it.await_line()[1] for _ in range(3)])
            it.stop()
            self.assertEqual("b a=3 no", it.last_words())

    def test_standard_output_may_go_to_a_file(self):
        with tempfile.TemporaryFile() as file, shell("echo ready; echo ready=2 >&2", r"ready(.*)", stdout=file) as it:
            self.assertEqual("=2", it.await_line()[1])
            it.end()
            file.seek(0)
            self.assertEqual(b"ready\n", file.read())

    def test_one_that_says_much_is_not_held_up(self):
        with shell("seq 100000; echo ready") as it:
            it.await_line()
            it.end()
            self.assertEqual("99996 99997 99998 99999 100000", it.last_words())


class FailureTest(unittest.TestCase):
    def assert_fails(self, it, how, *what):
        with it, self.assertRaises(process.Failed) as raised:
            how(it)
        for one in what:
            self.assertIn(one, str(raised.exception))

    def test_one_that_ends_instead_is_told_with_its_command_and_last_words(self):
        self.assert_fails(shell("echo oh dear >&2"), process.Process.await_line, "sh -c", "ready", "it said: oh dear")
        self.assert_fails(shell(":"), process.Process.await_line, "it said: nothing")

    def test_a_status_that_is_not_0_is_told(self):
        self.assert_fails(shell("exit 3"), process.Process.end, "ended with 3")

    def test_a_signal_may_end_it_well(self):
        program = ("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); print('ready', flush=True); "
                   "signal.sigwait([signal.SIGTERM])")
        with process.Process(["/usr/bin/python3", "-c", program], "ready", DEADLINE) as it:
            it.await_line()
            it.end(signal.SIGTERM)


class FiguresTest(unittest.TestCase):
    def test_what_it_takes_is_more_than_nothing(self):
        # So much that the kernel has noted it by then.
        with shell(f"i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; echo ready; {FOREVER}") as it:
            it.await_line()
            self.assertGreater(it.processor_seconds(), 0)
            self.assertGreater(it.anonymous_bytes(), 0)


class EndTest(unittest.TestCase):
    def test_it_is_gone_after_the_with_block(self):
        with shell(FOREVER) as it:
            self.assertTrue(os.path.exists(f"/proc/{it.pid}"))
        self.assertFalse(os.path.exists(f"/proc/{it.pid}"))

    def test_it_ends_with_the_process_that_started_it(self):
        program = ("import os, process; "
                   f"it = process.Process(['sh', '-c', 'echo ready; {FOREVER}'], 'ready', {DEADLINE}, under=['nice']); "
                   "it.await_line(); print(it.pid, flush=True); os.kill(os.getpid(), 9)")
        done = subprocess.run(["/usr/bin/python3", "-B", "-c", program], cwd=os.path.dirname(process.__file__),
                              stdout=subprocess.PIPE, timeout=DEADLINE, check=False)
        try:
            it = os.pidfd_open(int(done.stdout))
        except ProcessLookupError:
            return  # it has ended by now
        self.addCleanup(os.close, it)
        self.assertTrue(select.select([it], [], [], DEADLINE)[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
