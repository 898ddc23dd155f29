"""Processes that tests/peers and tests/scale measure, or measure with: how they start, what they say and take, how they end.

  with Process([sluice, "echo", "--listen=127.0.0.1:0"], r"listening on (.+)", deadline=60) as server:
      address = server.await_line()[1]
      before = server.anonymous_bytes()

Those of tests/integration (its harness.py) are another kind: a test writes to them, reads every line, and runs also where
there is no setpriv.
"""

import collections
import os
import queue
import re
import subprocess
import threading

# Before a command: whatever happens to this process, the other ends with it.
ENDS_WITH_US = ["setpriv", "--pdeathsig", "KILL"]


class Failed(Exception):
    """Something did not do what it is there for; says what, in a line."""


class Process:
    """A process that ends with the with block. Lines that match `awaited` as a whole are there to be read; of the others
    the last few are kept, to be told where it fails. So it may say as much as it likes."""

    def __init__(self, command, awaited, deadline, under=(), stdout=subprocess.PIPE, **options):
        """Runs `command`, by the command `under` where that is given. Lines are those of its standard output and error;
        those of the latter alone where `stdout` is a file. `options` are Popen's."""
        self._command = command
        self._awaited = awaited
        self._deadline = deadline
        self._matches = queue.Queue()
        self._said = collections.deque(maxlen=5)
        stderr = subprocess.STDOUT if stdout == subprocess.PIPE else subprocess.PIPE
        self._child = subprocess.Popen([*ENDS_WITH_US, *under, *command], stdin=subprocess.DEVNULL, stdout=stdout,
                                       stderr=stderr, **options)
        self._reader = threading.Thread(target=self._read, args=(self._child.stdout or self._child.stderr,), daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _read(self, stream):
        with stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                if match := re.fullmatch(self._awaited, text):
                    self._matches.put(match)
                else:
                    self._said.append(text)
        self._matches.put(None)

    @property
    def pid(self):
        return self._child.pid

    def await_line(self):
        """The match of the next line that is awaited."""
        try:
            match = self._matches.get(timeout=self._deadline)
        except queue.Empty:
            self.fail(f"did not say {self._awaited} in {self._deadline} s")
        except BaseException:  # of who wants to end at once
            self.stop()
            raise
        if match is None:
            self._matches.put(None)
            self.fail(f"ended and did not say {self._awaited}")
        return match

    def signal(self, number):
        self._child.send_signal(number)

    def end(self, number=None):
        """Waits until it has ended well, by itself or by a signal."""
        if number is not None:
            self.signal(number)
        try:
            status = self._child.wait(self._deadline)
        except subprocess.TimeoutExpired:
            self.fail(f"has not ended in {self._deadline} s")
        if status != 0:
            self.fail(f"ended with {status}")

    def stop(self):
        """Ends it at once."""
        self._child.kill()
        self._child.wait(self._deadline)

    def last_words(self):
        """Of one that has ended or was stopped: the last lines that it wrote, but for those that were awaited."""
        self._reader.join(self._deadline)
        return " ".join(self._said)[-300:]

    def fail(self, what):
        """Stops it, and raises Failed with its last words."""
        self.stop()
        raise Failed(f"{' '.join(self._command)}: {what}; it said: {self.last_words() or 'nothing'}")

    def processor_seconds(self):
        """What its threads took, to the nanosecond."""
        total = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def anonymous_bytes(self):
        """Memory that is its own: no file's, nobody else's."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
            return int(re.search(r"^Anonymous:\s+(\d+) kB$", file.read(), re.M).group(1)) * 1024
