"""Runs servers on one processor and the load on another, and measures one cell with one server.

Processor time is what the kernel says that the server's threads took (schedstat, to the nanosecond); load.c reads it
when nothing is under way.
"""

import json
import os
import queue
import re
import subprocess
import threading

import peers

# Far more than a server takes to start, or to answer.
DEADLINE = 60


class Failed(Exception):
    """A server did not start, or the load found something wrong; says what, in a line."""


def processors():
    """That of the servers, and that of the load."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def _on(processor):
    return lambda: os.sched_setaffinity(0, {processor})


class Server:
    def __init__(self, peer, place, built, wire):
        self.peer = peer
        self._command = peer.command(place, built, wire)
        self._child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, preexec_fn=_on(processors()[0]),
                                       env={**os.environ, **peer.environment})
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.address = self._await_address()

    def _read(self):
        with self._child.stdout:
            for line in iter(self._child.stdout.readline, b""):
                self._lines.put(line.decode(errors="replace").rstrip())
        self._lines.put(None)

    def _await_address(self):
        try:
            line = self._lines.get(timeout=DEADLINE)
        except queue.Empty:
            line = f"nothing in {DEADLINE} s"
        match = re.fullmatch(r"listening on (.+)", line or "")
        if not match:
            self.stop()
            raise Failed(f"{self._command[0]} said {line or 'nothing'} instead of where it listens")
        return match.group(1)

    @property
    def pid(self):
        return self._child.pid

    def stop(self):
        self._child.kill()
        self._child.wait(DEADLINE)


class Bench:
    """All servers that were started, and the load for them."""

    def __init__(self, place, built, load, seconds):
        self._place = place
        self._built = built
        self._load = load
        self._seconds = seconds
        self._servers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self._servers.values():
            server.stop()

    def measure(self, cell, peer):
        """{figure: value}."""
        return getattr(self, "_measure_" + cell.kind)(cell, peer)

    def _server(self, peer, wire):
        """It serves for as long as the bench is there, and sleeps while others are measured."""
        if (peer.name, wire) not in self._servers:
            self._servers[peer.name, wire] = Server(peer, self._place, self._built[peer.name], wire)
        return self._servers[peer.name, wire]

    def _load_command(self, server, wire, flags):
        switches = {"wss": ["--tls"], "deflate": ["--deflate"]}.get(wire, [])
        return [self._load, f"--address={server.address}", f"--protocol={peers.protocol_of(wire)}", *switches,
                *(f"--{name}={value}" for name, value in flags.items())]

    def _run_load(self, server, cell, **more):
        flags = {"seconds": self._seconds, "warm_up": self._seconds / 3, "pid": server.pid, **cell.load, **more}
        try:
            done = subprocess.run(self._load_command(server, cell.wire, flags), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=10 * DEADLINE, check=False,
                                  preexec_fn=_on(processors()[1]))
        except subprocess.TimeoutExpired:
            raise Failed("the load did not end") from None
        if done.returncode != 0:
            raise Failed(done.stderr.decode(errors="replace").strip()[:300])
        return json.loads(done.stdout)

    def _measure_echo(self, cell, peer):
        told = self._run_load(self._server(peer, cell.wire), cell)
        return {"processor": told["processor_seconds"] * 1e6 / told["count"], "rate": told["count"] / told["seconds"]}
