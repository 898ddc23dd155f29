"""`sluice relay` beside HAProxy in TCP mode, in one run: the processor time that each takes for what it passes on.

  relay_benchmark.py --rounds=5 --seconds=2

Each has the first processor to itself, with one thread; the load (`sluice bench`, or clients that connect, get an answer
and close) and the server (`sluice echo`) have the others. Short rounds by turns; printed are the medians, and the median
of the relay's time divided by HAProxy's in the same round: below 1, the relay takes less. HAProxy is measured with
`option splice-auto` and without it.

SLUICE names the tool, built with -c opt.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess

from haproxy import Haproxy
from harness import DEADLINE, Relay, Sluice

SLUICE = os.environ["SLUICE"]
# Messages of a size, connections, messages in flight on each: the time counts for each byte, or for each message.
LOADS = {"64 B": (64, 50, 1), "16 KiB": (16384, 10, 4), "256 KiB": (262144, 8, 2)}
CLIENTS_AT_ONCE = 50

ALL = sorted(os.sched_getaffinity(0))
FIRST, OTHERS = {ALL[0]}, set(ALL[1:]) or {ALL[0]}


def tasks(pid):
    return [int(task) for task in os.listdir(f"/proc/{pid}/task")]


def pin(pid, processors):
    for task in tasks(pid):
        os.sched_setaffinity(task, processors)


def processor_seconds(pid):
    """Of all threads of the process; to the nanosecond."""
    used = 0
    for task in tasks(pid):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as statistics_of_task:
            used += int(statistics_of_task.read().split()[0])
    return used / 1e9


def load(address, size, connections, pipeline, seconds):
    """How many messages came back."""
    command = [SLUICE, "bench", f"tcp://{address}", f"--size={size}", f"--connections={connections}",
               f"--pipeline={pipeline}", f"--duration={seconds}s", "--json"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE,
                                       timeout=seconds + DEADLINE).stdout)
    if report["errors_total"]:
        raise AssertionError(report)
    return report["messages"]


def connect(address, count):
    host, port = address.rsplit(":", 1)
    for _ in range(count // CLIENTS_AT_ONCE):
        clients = [socket.create_connection((host, int(port)), DEADLINE) for _ in range(CLIENTS_AT_ONCE)]
        for client in clients:
            client.sendall(b"x")
        for client in clients:
            if client.recv(1) != b"x":
                raise AssertionError("no answer")
            client.close()
    return count // CLIENTS_AT_ONCE * CLIENTS_AT_ONCE


class Proxies:
    """All that are compared, in front of one server."""

    def __init__(self, server):
        self._made = {"relay": Relay(server), "haproxy": Haproxy(server),
                      "haproxy, splice": Haproxy(server, options="option splice-auto")}

    def __enter__(self):
        for proxy in self._made.values():
            proxy.__enter__()
            connect(proxy.address, CLIENTS_AT_ONCE)  # all threads are there
            pin(proxy.pid, FIRST)
        return self

    def __exit__(self, *_):
        for proxy in self._made.values():
            proxy.__exit__(None, None, None)

    def measure(self, work):
        """Microseconds for each of what `work` does; {proxy: ...}."""
        costs = {}
        for name, proxy in self._made.items():
            before = processor_seconds(proxy.pid)
            count = work(proxy.address)
            costs[name] = (processor_seconds(proxy.pid) - before) * 1e6 / count
        return costs


def report(what, rounds):
    print(what)
    for name in rounds[0]:
        ratio = statistics.median(costs["relay"] / costs[name] for costs in rounds)
        cost = statistics.median(costs[name] for costs in rounds)
        print(f"  {name:16} {cost:9.3f} us   relay / this: {ratio:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each load, in each round")
    parser.add_argument("--connections", type=int, default=5000, help="in each round")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, OTHERS)  # and for all children
    with Sluice("--protocol=raw") as server, Proxies(server.address) as proxies:
        for name, (size, connections, pipeline) in LOADS.items():
            report(f"each message of {name}, there and back, {connections} connections, {pipeline} in flight",
                   [proxies.measure(lambda address, size=size, connections=connections, pipeline=pipeline:
                                    load(address, size, connections, pipeline, arguments.seconds))
                    for _ in range(arguments.rounds)])
        report("each connection: accepted, connected, a byte there and back, closed",
               [proxies.measure(lambda address: connect(address, arguments.connections))
                for _ in range(arguments.rounds)])


if __name__ == "__main__":
    main()
