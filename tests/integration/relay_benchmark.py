"""`sluice relay` beside HAProxy in TCP mode, in one run: the processor time that each takes for what it passes on.

  relay_benchmark.py --rounds=5 --seconds=2

Each has the first processor to itself, with one thread; the load (`sluice bench`, or clients that connect, get an answer
and close) and the server (`sluice echo`) have the others. Short rounds by turns; printed are the medians, and the median
of the relay's time divided by HAProxy's in the same round: below 1, the relay takes less. HAProxy is measured with
`option splice-auto` and without it.

SLUICE names the tool, built with -c opt.
"""

import argparse
import contextlib
import functools
import json
import os
import socket
import statistics
import subprocess

from haproxy import Haproxy
from harness import DEADLINE, Relay, Sluice

SLUICE = os.environ["SLUICE"]
# Messages of so many bytes, connections, messages in flight on each.
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
    """How many connections there were: at least `count`."""
    host, port = address.rsplit(":", 1)
    times = -(-count // CLIENTS_AT_ONCE)
    for _ in range(times):
        clients = [socket.create_connection((host, int(port)), DEADLINE) for _ in range(CLIENTS_AT_ONCE)]
        for client in clients:
            client.sendall(b"x")
        for client in clients:
            if client.recv(1) != b"x":
                raise AssertionError("no answer")
            client.close()
    return times * CLIENTS_AT_ONCE


def start(stack, server):
    """All that are compared, in front of one server; {name: proxy}."""
    proxies = {}
    for name, make in (("relay", lambda: Relay(server)), ("haproxy", lambda: Haproxy(server)),
                       ("haproxy, splice", lambda: Haproxy(server, options="option splice-auto"))):
        proxies[name] = stack.enter_context(make())
        connect(proxies[name].address, CLIENTS_AT_ONCE)  # all threads are there
        pin(proxies[name].pid, FIRST)
    return proxies


def measure(proxies, work):
    """Microseconds for each of what `work` does; {name: ...}."""
    costs = {}
    for name, proxy in proxies.items():
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
    with contextlib.ExitStack() as stack:
        proxies = start(stack, stack.enter_context(Sluice("--protocol=raw")).address)
        for name, (size, connections, pipeline) in LOADS.items():
            work = functools.partial(load, size=size, connections=connections, pipeline=pipeline,
                                     seconds=arguments.seconds)
            report(f"each message of {name}, there and back, {connections} connections, {pipeline} in flight",
                   [measure(proxies, work) for _ in range(arguments.rounds)])
        work = functools.partial(connect, count=arguments.connections)
        report("each connection: accepted, connected, a byte there and back, closed",
               [measure(proxies, work) for _ in range(arguments.rounds)])


if __name__ == "__main__":
    main()
