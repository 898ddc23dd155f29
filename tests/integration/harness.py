"""What the integration tests share: processes and sockets on which nothing waits for ever.

  class EchoTest(TestCase):
      def test_bytes_come_back(self):
          client = self.enter(self.enter(Sluice("--protocol=raw")).connect())
          client.sendall(b"hello")
          self.assertEqual(receive_exactly(client, 5), b"hello")

Each wait is for an event (a line, bytes, the end of a process) and fails after DEADLINE; none is for time to pass. A
test ends the processes that it has started, and no others. BUILD says in the environment where the binaries are.
"""

import os
import queue
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import unittest

# Far more than anything here takes, also with sanitizers on a busy machine.
DEADLINE = 30


def require(present, what):
    """Without a peer that a test needs, the test fails in CI and is skipped elsewhere."""
    if present:
        return
    if os.environ.get("CI"):
        raise AssertionError(f"{what} is missing, and in CI (the environment has CI) that is a failure")
    print(f"SKIPPED: {what} is missing")
    raise unittest.SkipTest(f"{what} is missing")


class TestCase(unittest.TestCase):
    def enter(self, context):
        """Enters a context manager, which is left when the test is over."""
        entered = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return entered

    @classmethod
    def enter_for_all(cls, context):
        """The same until all tests of the class are over."""
        entered = context.__enter__()
        cls.addClassCleanup(context.__exit__, None, None, None)
        return entered


class Process:
    """A child process whose standard output is read line by line; with merge_errors, standard error among it. It is
    killed at the end of the with block."""

    def __init__(self, command, descriptors=None, merge_errors=False):
        self._command = command
        if descriptors:
            command = ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', str(descriptors), *command]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT if merge_errors else None, bufsize=0)
        self._lines = queue.Queue()
        self._is_told_to_end = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.kill()
        self._child.wait(DEADLINE)
        self._reader.join(DEADLINE)
        self._child.stdin.close()

    @property
    def pid(self):
        return self._child.pid

    def _read(self):
        with self._child.stdout:
            for line in iter(self._child.stdout.readline, b""):
                self._lines.put(line.decode(errors="backslashreplace").rstrip("\n"))
        self._lines.put(None)

    def read_line(self):
        """The next line of standard output."""
        try:
            line = self._lines.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"{self._command} wrote nothing in {DEADLINE} s") from None
        if line is None:
            self._lines.put(None)
            raise AssertionError(f"{self._command} has ended its output; exit status {self._child.poll()}")
        return line

    def read_rest(self):
        """What is left of standard output, until its end."""
        lines = []
        while True:
            line = self._lines.get(timeout=DEADLINE)
            if line is None:
                self._lines.put(None)
                return lines
            lines.append(line)

    def write(self, data):
        remaining = memoryview(data)
        while remaining:
            remaining = remaining[self._child.stdin.write(remaining):]

    def end_input(self):
        self._child.stdin.close()

    def terminate(self, number=signal.SIGTERM):
        self._is_told_to_end = True
        self._child.send_signal(number)

    def wait(self):
        """The exit status, once the process has ended by itself."""
        return self._child.wait(DEADLINE)

    def is_alive(self):
        return self._child.poll() is None

    def memory_bytes(self, field):
        """VmRSS, or VmHWM: the highest it ever was."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(rf"^{field}:\s+(\d+) kB$", status.read(), re.M).group(1)) * 1024


class Server(Process):
    """A process that prints `listening on ADDRESS` once it accepts, and that SIGTERM ends with exit status 0."""

    def __init__(self, command, descriptors=None, merge_errors=False):
        super().__init__(command, descriptors, merge_errors)
        line = self.read_line()
        match = re.fullmatch(r"listening on (.+)", line)
        if not match:
            raise AssertionError(f"{command} began with: {line}")
        self.address = match.group(1)

    @property
    def url(self):
        return f"ws://{self.address}/"

    def connect(self, receive_buffer=None):
        """A connected socket; each of its operations fails after DEADLINE."""
        if self.address.startswith("unix:"):
            path = self.address[len("unix:"):]
            family, where = socket.AF_UNIX, "\0" + path[1:] if path.startswith("@") else path
        else:
            host, port = self.address.rsplit(":", 1)
            family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            where = (host.strip("[]"), int(port))
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(DEADLINE)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.connect(where)
        except OSError:
            connection.close()
            raise
        return connection

    def stop(self):
        """Ends it with SIGTERM, unless that was done; its exit status and its last lines."""
        if not self._is_told_to_end:  # a second SIGTERM would end it at once
            self.terminate()
        status = self.wait()
        return status, self.read_rest()


class Sluice(Server):
    """`sluice echo`, or another of its servers, with these flags."""

    def __init__(self, *flags, command="echo", listen="127.0.0.1:0", **options):
        super().__init__([os.environ["SLUICE"], command, f"--listen={listen}", *flags], **options)

    def totals(self):
        """Stops it. Its line of totals, as a dictionary."""
        status, lines = self.stop()
        if status != 0 or len(lines) != 1 or not lines[0].startswith("totals: "):
            raise AssertionError(f"exit status {status}, output {lines}")
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", lines[0])}


class Relay(Sluice):
    """`sluice relay` to a backend, or to several that are separated by commas."""

    def __init__(self, to, *flags, **options):
        super().__init__(f"--to={to}", *flags, command="relay", **options)


def receive_exactly(connection, count):
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(min(count - len(data), 1 << 18))
        if not piece:
            raise AssertionError(f"the connection ended after {len(data)} of {count} bytes")
        data += piece
    return bytes(data)


def receive_to_end(connection):
    """All that comes until the peer ends; a reset is an end too."""
    data = bytearray()
    try:
        while piece := connection.recv(1 << 18):
            data += piece
    except ConnectionResetError:
        pass
    return bytes(data)


def send_what_is_taken(connection, data):
    """Sends to a peer that may reset the connection meanwhile. True if it took all."""
    try:
        connection.sendall(data)
    except (ConnectionResetError, BrokenPipeError):
        return False
    return True


def exchange(connection, data, count=None):
    """Sends data and receives count bytes (as many as it sends, unless said) at the same time."""
    count = len(data) if count is None else count
    received = bytearray()
    unsent = memoryview(data)
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while len(received) < count:
            events = selector.select(DEADLINE)
            if not events:
                raise AssertionError(f"nothing came in {DEADLINE} s; {len(received)} of {count} bytes are there")
            if events[0][1] & selectors.EVENT_READ:
                piece = connection.recv(1 << 18)
                if not piece:
                    raise AssertionError(f"the connection ended after {len(received)} of {count} bytes")
                received += piece
            if events[0][1] & selectors.EVENT_WRITE:
                unsent = unsent[connection.send(unsent[:1 << 18]):]
                if not unsent:
                    selector.modify(connection, selectors.EVENT_READ)
    return bytes(received)


def reset(connection):
    """Closes with a reset (RST) instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def pattern(count, seed=0):
    """Bytes in which a lost, doubled or moved piece shows."""
    words = struct.pack(f"<{count // 4 + 1}I", *((seed * 0x9E3779B1 + i * 0x85EBCA6B) & 0xFFFFFFFF
                                                   for i in range(count // 4 + 1)))
    return words[:count]


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2)
