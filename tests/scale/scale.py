"""Whether a server grows: with loops, with connections that are held, and with connections that come and go.

    tests/scale/scale                       100,000 connections; about two minutes
    tests/scale/scale --connections=300000 --protocol=raw --json=figures.json

It measures `sluice echo` under `sluice bench` over loopback, prints a table, and with --json=FILE writes the figures.
Nothing here says how fast a message is (//tests/peers does): with fewer processors than loops and loads together,
they take turns.
"""

import argparse
import contextlib
import ipaddress
import json
import math
import os
import re
import resource
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "process"))
from process import Failed, Process

# Far more than a server takes to start, or a load to say something; less than Bazel gives the test, so that what went
# wrong is seen.
DEADLINE = 120
# Connections of a load: Linux has 28,232 ports to one address.
MOST_OF_A_LOAD = 25_000
# How many of the connections that are held speak in a second, until all have; then the loads are stopped.
SPEAKING_RATE = 25_000
# The first of the addresses that loads connect to, one each. All of 127.0.0.0/8 is this machine.
FIRST_ADDRESS = ipaddress.IPv4Address("127.0.0.2")
# The part of a table of descriptors that is left free: some are no connections, and some loops get more than others.
SPARE = 0.15


def whole_number(least, most):
    def parse(text):
        if not re.fullmatch(r"[0-9_]+", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text}: accepted is a whole number from {least} to {most}")
        return int(text)
    return parse


class Server(Process):
    def __init__(self, sluice, *flags, listen="*:0"):
        super().__init__([sluice, "echo", f"--listen={listen}", "--idle_timeout=inf", *flags], r"listening on .*:(\d+)",
                         DEADLINE)
        self.port = int(self.await_line()[1])

    def wake_ups(self):
        total = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/status", encoding="ascii") as file:
                total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(), re.M).group(1))
        return total


class Load(Process):
    """`sluice bench` that goes on until it is interrupted, or for --duration."""

    def __init__(self, sluice, url, *flags, timeout="60s"):
        self._report = tempfile.TemporaryFile()
        super().__init__([sluice, "bench", url, "--json", f"--timeout={timeout}", *flags], r".*  ([\d,]+) in all .*",
                         DEADLINE, stdout=self._report)

    def report(self, number=None):
        """What it printed, once it has ended, by itself or by a signal."""
        self.end(number)
        with self._report:
            self._report.seek(0)
            return json.load(self._report)

    def await_messages(self, count):
        messages, moved = 0, time.monotonic()
        while messages < count:
            told = int(self.await_line()[1].replace(",", ""))
            if told > messages:
                messages, moved = told, time.monotonic()
            elif time.monotonic() > moved + DEADLINE:
                self.fail(f"{messages} messages, and no further one in {DEADLINE} s")


def kernel_bytes():
    """What the kernel holds in small objects, sockets among them."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"^Slab:\s+(\d+) kB", file.read(), re.M).group(1)) * 1024


def let_pass(seconds):
    """What is measured meanwhile is divided by it: nothing waits for something here."""
    threading.Event().wait(seconds)


def scheme(protocol):
    return {"raw": "tcp", "websocket": "ws"}[protocol]


def measure_loops(options):
    """Messages a second, and processor time of a message, for servers of 1, 2 and 4 loops."""
    rows = []
    for loops in (1, 2, 4):
        with Server(options.sluice, f"--protocol={options.protocol}", f"--threads={loops}") as server:
            before = server.processor_seconds()
            url = f"{scheme(options.protocol)}://127.0.0.1:{server.port}/"
            with Load(options.sluice, url, "--connections=64", "--pipeline=16", "--size=64", "--threads=2",
                      f"--duration={options.seconds}s") as load:
                report = load.report()
            rows.append({"loops": loops, "messages_per_second": report["messages_per_second"],
                         "cpu_ns_per_message": (server.processor_seconds() - before) * 1e9 / report["messages"]})
    return rows


def connections_of_a_table():
    """How many one table of descriptors may hold: RLIMIT_NOFILE's hard limit, but for the spare ones."""
    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[1] * (1 - SPARE))


@contextlib.contextmanager
def servers_of(options, is_of_processes, tables):
    """One process with so many loops, each with descriptors of its own, or so many processes that share a port."""
    flags = [f"--protocol={options.protocol}", f"--max_connections={2 * options.connections}"]
    with contextlib.ExitStack() as stack:
        if not is_of_processes:
            yield [stack.enter_context(Server(options.sluice, *flags, f"--threads={tables}",
                                              "--own_descriptor_tables"))]
            return
        servers = []
        listen = "*:0"
        for _ in range(tables):
            servers.append(stack.enter_context(Server(options.sluice, *flags, "--reuse_port", listen=listen)))
            listen = f"*:{servers[0].port}"
        yield servers


def hold(options, is_of_processes):
    """Connections that have all spoken, and are then held: their memory, and what the server does meanwhile."""
    tables = math.ceil(options.connections / connections_of_a_table())
    with servers_of(options, is_of_processes, tables) as servers, contextlib.ExitStack() as stack:
        before = sum(server.anonymous_bytes() for server in servers)
        kernel = kernel_bytes()
        began = time.monotonic()
        loads = []
        left = options.connections
        while left > 0:
            count = min(left, MOST_OF_A_LOAD, connections_of_a_table())
            left -= count
            # Each load has an address of its own to connect to, and so all ports. None waits in vain: they are stopped for
            # as long as is measured.
            url = f"{scheme(options.protocol)}://{FIRST_ADDRESS + len(loads)}:{servers[0].port}/"
            load = Load(options.sluice, url, f"--connections={count}", "--size=64",
                        f"--think_time={options.connections / SPEAKING_RATE:.3f}s", "--duration=inf",
                        timeout="inf")
            loads.append((stack.enter_context(load), count))
        for load, count in loads:
            load.await_messages(2 * count)
        took = time.monotonic() - began
        for load, _ in loads:
            load.signal(signal.SIGSTOP)
        let_pass(1)  # for what is under way
        memory = sum(server.anonymous_bytes() for server in servers)
        kernel = kernel_bytes() - kernel
        processor = sum(server.processor_seconds() for server in servers)
        wake_ups = sum(server.wake_ups() for server in servers)
        let_pass(options.seconds)
        processor = sum(server.processor_seconds() for server in servers) - processor
        wake_ups = sum(server.wake_ups() for server in servers) - wake_ups
        answered = 0
        for load, count in loads:
            load.signal(signal.SIGCONT)
            report = load.report(signal.SIGINT)
            if report["connections_opened"] != count:
                load.fail(f"only {report['connections_opened']} connections opened")
            answered += report["messages"]
        for server in servers:
            server.end(signal.SIGTERM)
    return {"of": "processes" if is_of_processes else "loops", "tables": tables, "connections": options.connections,
            "messages": answered, "seconds_to_open": took, "bytes": memory - before, "bytes_before": before,
            "bytes_per_connection": (memory - before) / options.connections,
            "kernel_bytes_per_socket": kernel / options.connections / 2,  # both ends are here
            "idle_cpu_ms_per_second": processor * 1000 / options.seconds,
            "idle_wake_ups_per_second": wake_ups / options.seconds}


def churn(options):
    """Connections that carry one message each: how many a second, and what each costs the server."""
    rows = []
    for protocol in ("raw", "websocket"):
        with Server(options.sluice, f"--protocol={protocol}") as server:
            before = server.processor_seconds()
            url = f"{scheme(protocol)}://127.0.0.1:{server.port}/"
            with Load(options.sluice, url, "--connections=64", "--size=64", "--reconnect=1",
                      f"--duration={options.seconds}s") as load:
                report = load.report()
            rows.append({"protocol": protocol, "connections_per_second": report["messages_per_second"],
                         "cpu_us_per_connection":
                             (server.processor_seconds() - before) * 1e6 / report["messages"]})
    return rows


def table(headings, rows):
    lines = [headings, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths)).rstrip() for line in lines) + "\n"


def report(figures):
    parts = [
        table(["loops", "messages/s", "server CPU ns/message"],
              [[row["loops"], f"{row['messages_per_second']:,.0f}", f"{row['cpu_ns_per_message']:,.0f}"]
               for row in figures["loops"]]),
        table(["held by", "connections", "messages", "s to open", "MB in all", "bytes each", "kernel bytes each", "idle CPU ms/s",
               "idle wake-ups/s"],
              [[f"{row['tables']} {row['of']}", f"{row['connections']:,}", f"{row['messages']:,}",
                f"{row['seconds_to_open']:.1f}", f"{(row['bytes'] + row['bytes_before']) / 1e6:.1f}",
                f"{row['bytes_per_connection']:.0f}", f"{row['kernel_bytes_per_socket']:,.0f}",
                f"{row['idle_cpu_ms_per_second']:.3f}",
                f"{row['idle_wake_ups_per_second']:.1f}"] for row in figures["held"]]),
        table(["churn", "connections/s", "server CPU us/connection"],
              [[row["protocol"], f"{row['connections_per_second']:,.0f}", f"{row['cpu_us_per_connection']:.1f}"]
               for row in figures["churn"]])]
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(prog="tests/scale/scale", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", required=True, metavar="FILE", help="the command line, built with -c opt")
    parser.add_argument("--connections", type=whole_number(1, 1_000_000), default=100_000, help="to hold (%(default)s)")
    parser.add_argument("--protocol", choices=["raw", "websocket"], default="websocket", help="%(default)s")
    parser.add_argument("--seconds", type=whole_number(1, 60), default=5, help="of each measurement (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="writes the figures")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("scale: ended"))  # and the servers and loads with it
    try:
        figures = {"loops": measure_loops(options), "held": [hold(options, False), hold(options, True)],
                   "churn": churn(options)}
    except Failed as reason:
        sys.exit(f"scale: {reason}")
    print(report(figures), end="")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
