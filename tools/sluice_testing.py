"""What the tests of the command line share: the binary, its server, servers and terminals of their own.

The tests take the binary as their first argument.
"""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import unittest

SLUICE = os.path.abspath(sys.argv[1])

# Long enough for the slowest machine: what hangs fails, and nothing waits for it otherwise.
PATIENCE = 120


def run(*words, binary=SLUICE, stdin=b"", env=None):
    """Runs a command to its end."""
    return subprocess.run([binary, *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=PATIENCE, env=env)


class Echo:
    """`sluice echo` on a free port."""

    def __init__(self, *flags, listen="127.0.0.1:0", binary=SLUICE):
        self.process = subprocess.Popen([binary, "echo", f"--listen={listen}", *flags], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        line = self.process.stdout.readline().decode()
        match = re.fullmatch(r"listening on (\S+)\n", line)
        if not match:
            raise AssertionError(f"no address in {line!r}: {self.process.communicate(timeout=PATIENCE)}")
        self.address = match[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def connect(self):
        if self.address.startswith("unix:"):
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(self.address[len("unix:"):])
        else:
            host, port = self.address.rsplit(":", 1)
            connected = socket.create_connection((host.strip("[]"), int(port)))
        connected.settimeout(PATIENCE)
        return connected

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.totals()

    def totals(self):
        """Waits for the end, which must be a good one, and returns the last line as a dictionary."""
        out, err = self.process.communicate(timeout=PATIENCE)
        if self.process.returncode != 0 or err:
            raise AssertionError(f"status {self.process.returncode}: {out} {err}")
        lines = out.decode().splitlines()
        if len(lines) != 1 or not lines[0].startswith("totals: "):
            raise AssertionError(f"no totals: {out}")
        return {name: int(value) for name, value in (word.split("=") for word in lines[0].split()[1:])}


class Fake:
    """A server in this process that does `serve(connection)` with each connection."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.threads = []
        self.closing = False
        self.acceptor = threading.Thread(target=self.accept, args=(serve,))
        self.acceptor.start()

    def accept(self, serve):
        while True:
            connection, _ = self.listener.accept()
            if self.closing:
                connection.close()
                return
            thread = threading.Thread(target=self.serve, args=(serve, connection))
            thread.start()
            self.threads.append(thread)

    @staticmethod
    def serve(serve, connection):
        with connection:
            connection.settimeout(PATIENCE)
            try:
                serve(connection)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closing = True  # and a connection, for accept to return
        socket.create_connection(self.listener.getsockname()).close()
        self.acceptor.join()
        self.listener.close()
        for thread in self.threads:
            thread.join()


def receive(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def receive_all(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


def until_end(connection):
    while connection.recv(65536):
        pass


def open_terminal():
    """The two ends of a pseudo-terminal. Without devpts, as in a bare chroot, the test is skipped, and fails in CI."""
    try:
        return pty.openpty()
    except OSError as error:
        if "CI" in os.environ:
            raise
        raise unittest.SkipTest(f"no pseudo-terminal: {error}") from error


class Terminal:
    """A pseudo-terminal; `other` is for the process. What is shown on it is collected."""

    def __init__(self):
        self.own, self.other = open_terminal()
        self.shown = b""
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        try:
            while True:
                self.shown += os.read(self.own, 65536)
        except OSError:  # the process has closed the other end
            pass

    def close(self):
        """After the process: returns what it has shown."""
        os.close(self.other)
        self.reader.join()
        os.close(self.own)
        return self.shown.decode()
