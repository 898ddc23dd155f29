"""Runs servers on one processor and the load on another, and measures one cell with one server.

Processor time is what the kernel says that the server's threads took (schedstat, to the nanosecond); load.c reads it
when nothing is under way.
"""

import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile

import peers
from process import ENDS_WITH_US, Failed, Process  # by the path of peers

# Far more than a server takes to start, or to answer.
DEADLINE = 60


def processors():
    """That of the servers, and that of the load."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def _on(processor):
    return ["taskset", "--cpu-list", str(processor)]


class Server(Process):
    def __init__(self, peer, place, built, wire, environment=None):
        command = peer.command(place, built, wire)
        super().__init__(command, peer.ready, DEADLINE, under=_on(processors()[0]),
                         env={**os.environ, **peer.environment, **(environment or {})})
        # One that does not tell it was told it.
        self.address = (self.await_line().groupdict().get("address") or
                        f"127.0.0.1:{command[command.index('--port') + 1]}")


def start(peer, place, built, wire, environment=None):
    for attempt in range(1, peer.attempts + 1):
        try:
            return Server(peer, place, built, wire, environment)
        except Failed:
            if attempt == peer.attempts:
                raise


class Bench:
    """All servers that were started, and the load for them."""

    def __init__(self, place, built, load, seconds, idle_connections):
        self._place = place
        self._built = built
        self._load = load
        self._seconds = seconds
        self._idle_connections = idle_connections
        self._servers = {}
        self._rates = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_servers()

    def stop_servers(self):
        """What is measured next begins with new ones."""
        while self._servers:
            self._servers.popitem()[1].stop()

    def measure(self, cell, peer):
        """{figure: value}; raises Failed."""
        with self._failures_of(peer, cell):
            return getattr(self, "_measure_" + cell.kind)(cell, peer)

    @contextlib.contextmanager
    def _failures_of(self, peer, cell):
        """Whatever goes wrong is told as Failed, with the server's last words; the next cell begins with another server."""
        try:
            yield
        except Exception as error:
            what = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            server = self._servers.pop((peer.name, cell.wire), None)
            if server:
                server.stop()
                what += f"; the server said: {server.last_words()}" if server.last_words() else ""
            raise Failed(what) from error

    def _server(self, peer, cell):
        """It serves until stop_servers, and sleeps while others are measured."""
        if (peer.name, cell.wire) not in self._servers:
            server = start(peer, self._place, self._built[peer.name], cell.wire)
            self._servers[peer.name, cell.wire] = server
            self._warm_up(server, cell)
        return self._servers[peer.name, cell.wire]

    def _warm_up(self, server, cell):
        """What is compiled or made when it is first used (Node's code, Go's memory) is no part of the first cell's figures."""
        changes = {} if cell.load["mode"] in ("broadcast", "set_up") else {"mode": "echo"}
        if cell.wire == "resp":
            changes["protocol"] = "resp_set"
        self._run_load(server, cell, **changes)

    def _load_command(self, server, wire, flags):
        switches = {"wss": ["--tls"], "deflate": ["--deflate"]}.get(wire, [])
        flags = {"protocol": peers.protocol_of(wire), **flags}
        command = [self._load, f"--address={server.address}", *switches,
                   *(f"--{name}" if value is None else f"--{name}={value}" for name, value in flags.items())]
        return [*ENDS_WITH_US, *_on(processors()[1]), *command]

    def _run_load(self, server, cell, **more):
        flags = {"seconds": self._seconds, "warm_up": self._seconds / 3, "pid": server.pid, **cell.load, **more}
        try:
            done = subprocess.run(self._load_command(server, cell.wire, flags), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=2 * DEADLINE, check=False)
        except subprocess.TimeoutExpired:
            raise Failed("the load did not end") from None
        if done.returncode != 0:
            raise Failed(done.stderr.decode(errors="replace").strip()[:300])
        return json.loads(done.stdout)

    def _measure_echo(self, cell, peer):
        told = self._run_load(self._server(peer, cell), cell)
        return {"processor": told["processor_seconds"] * 1e6 / told["count"], "rate": told["count"] / told["seconds"]}

    def _measure_resp_get(self, cell, peer):
        """There has to be a value."""
        server = self._server(peer, cell)
        host, port = server.address.rsplit(":", 1)
        size = cell.load["size"]
        with socket.create_connection((host, int(port)), DEADLINE) as connection:
            connection.sendall(b"*3\r\n$3\r\nSET\r\n$2\r\nit\r\n$%d\r\n%s\r\n" % (size, b"x" * size))
            answer = connection.recv(64)
            if answer != b"+OK\r\n":
                raise Failed(f"SET was answered with {answer}")
        return self._measure_echo(cell, peer)

    def _measure_latency(self, cell, peer):
        """At half of the rate that sluice reaches with one message in flight on each connection."""
        if cell.name not in self._rates:
            self._rates[cell.name] = self._rate_of_sluice(cell) / 2
        told = self._run_load(self._server(peer, cell), cell, rate=self._rates[cell.name],
                              seconds=3 * self._seconds)
        return {"p99": told["p99_us"], "p99.9": told["p999_us"]}

    def _rate_of_sluice(self, cell):
        try:
            with self._failures_of(peers.SLUICE, cell):
                sluice = self._server(peers.SLUICE, cell)
                told = [self._run_load(sluice, cell, mode="echo") for _ in range(3)]
                return statistics.median(one["count"] / one["seconds"] for one in told)
        except Failed as reason:
            raise Failed(f"the rate, which is sluice's, could not be measured: {reason}") from None

    def _measure_calls(self, cell, peer):
        server = self._server(peer, cell)
        with self._gated(server, cell.wire, {**cell.load, "pid": server.pid}) as load, SystemCalls(server.pid) as calls:
            load.stdin.write(b"go\n")
            load.stdin.flush()
            json.loads(load.stdout.readline())
        return {"calls": calls.count / cell.load["messages"]}

    def _measure_memory(self, cell, peer):
        """Of further connections: what a server needs once is there by then."""
        server = start(peer, self._place, self._built[peer.name], cell.wire, {"SAVE_MEMORY": "1"})
        count = self._idle_connections
        try:
            with self._gated(server, cell.wire, {**cell.load, "connections": count // 10}):
                before = server.anonymous_bytes()
                with self._gated(server, cell.wire, {**cell.load, "connections": count}):
                    return {"memory": (server.anonymous_bytes() - before) / count}
        finally:
            server.stop()

    @contextlib.contextmanager
    def _gated(self, server, wire, flags):
        """A load that has all its connections open, and waits for a line."""
        command = self._load_command(server, wire, {**flags, "gate": None})
        load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            if load.stdout.readline() != b"ready\n":
                raise Failed(load.stderr.read().decode(errors="replace").strip()[:300])
            yield load
        finally:
            load.kill()
            load.communicate()


class SystemCalls:
    """Counts those of a process, and of all its threads, in the with block."""

    def __init__(self, pid):
        self._pid = pid
        self.count = None

    def __enter__(self):
        self._summary = tempfile.NamedTemporaryFile(prefix="calls.")
        command = [*ENDS_WITH_US, "strace", "-f", "-c", "-o", self._summary.name, "-p", str(self._pid)]
        self._strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        line = self._strace.stderr.readline().decode(errors="replace")
        if "attached" not in line:
            self._strace.kill()
            self._strace.communicate(timeout=DEADLINE)
            raise Failed(f"strace: {line.strip()}")
        return self

    def __exit__(self, *_):
        self._strace.send_signal(signal.SIGINT)
        try:
            self._strace.communicate(timeout=DEADLINE)
        finally:
            self._strace.kill()
        with self._summary:
            lines = self._summary.read().decode().splitlines()
        # % time, seconds, usecs/call, calls, errors if any, and the name.
        rows = [line.split() for line in lines if re.match(r"\s*[\d.]+\s", line)]
        self.count = sum(int(row[3]) for row in rows if row[-1] != "total")
