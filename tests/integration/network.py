"""A network of two hosts, "client" and "server", in namespaces of their own, and between them a wire that this process
makes: each packet goes through it, and is delayed, lost or swallowed as the test says.

    wire = self.enter(network.Wire(delay=0.08, loss=0.02))
    wire.swallows_ipv6 = True
    server = self.enter(Server(wire.on_server([SLUICE, "echo", "--listen=*:0"])))
    client = self.enter(Process(wire.on_client([SLUICE, "cat", ...], hosts={"server.test": network.SERVER})))

Each host is a process that makes a network namespace, and in it a TUN device, the other end of which it hands over to
the wire. So the kernel needs neither netem nor a packet filter, and nothing outside of the namespaces changes. It
needs no privileges where users may make namespaces (user.max_user_namespaces), and root elsewhere.
"""

import array
import contextlib
import fcntl
import functools
import heapq
import os
import random
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from harness import DEADLINE

# Of these kinds IPv6 is preferred (RFC 6724), which it is not when its addresses are local ones (fc00::/7).
CLIENT = ("2001:db8:53::1", "10.83.0.1")
SERVER = ("2001:db8:53::2", "10.83.0.2")

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MTU = 1500


@functools.lru_cache()
def _namespaces():
    """What runs a command in namespaces of its own; empty where that is not allowed."""
    for users in (["--user", "--map-root-user"], []):
        words = ["unshare", *users, "--net", "--mount"]
        if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return words
    return []


def what_is_missing():
    """What this machine lacks for such a network; empty for nothing."""
    for command, package in (("ip", "iproute2"), ("nsenter", "util-linux"), ("unshare", "util-linux")):
        if not shutil.which(command):
            return f"{command} (of {package})"
    if not _namespaces():
        return "the permission to make network namespaces"
    probe = [*_namespaces(), "ip", "tuntap", "add", "dev", "probe", "mode", "tun"]
    if subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return "a usable /dev/net/tun"
    return ""


def carries_tcp(packet):
    """Whether a program has to do with the packet: kernels look for routers and neighbours by themselves."""
    is_ipv6 = packet[0] >> 4 == 6
    return packet[6 if is_ipv6 else 9] == socket.IPPROTO_TCP


class Wire:
    """Both hosts, and what lies between them. Chances are drawn from `seed`, packet by packet. `swallowed` and `lost` count
    packets of TCP only.
    """

    def __init__(self, delay=0.0, loss=0.0, seed=1):
        self.swallows_ipv4 = False
        self.swallows_ipv6 = False
        self.swallowed = 0
        self.lost = 0
        self.passed = 0
        self._delay = delay
        self._loss = loss
        self._random = random.Random(seed)
        self._folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self._ends = {}
        self._hosts = {}

    def __enter__(self):
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self._close)
            for name, addresses in (("client", CLIENT), ("server", SERVER)):
                self._add_host(name, addresses)
            self._stop_reading, self._stop = socket.socketpair()
            self._thread = threading.Thread(target=self._carry)
            self._thread.start()
            on_failure.pop_all()
        return self

    def __exit__(self, *_):
        self._stop.close()
        self._thread.join(DEADLINE)
        self._stop_reading.close()
        self._close()

    def _close(self):
        for host in self._hosts.values():
            host.stdin.close()  # the host ends with its input
            host.wait(DEADLINE)
        for end in self._ends.values():
            os.close(end)
        self._folder.cleanup()

    def on_client(self, command, hosts=None):
        return self._on("client", command, hosts)

    def on_server(self, command, hosts=None):
        return self._on("server", command, hosts)

    def _on(self, name, command, hosts):
        """The command as it is run on the host. `hosts` is what names it knows: {name: addresses}."""
        words = ["nsenter", "--preserve-credentials", "--target", str(self._hosts[name].pid), "--net", "--mount"]
        if "--user" in _namespaces():
            words.append("--user")
        lines = [f"{address} {host}\n" for host, addresses in (hosts or {}).items() for address in addresses]
        # In a further mount namespace, so that they are the process's alone.
        script = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'
        return [*words, "unshare", "--mount", "/bin/sh", "-c", script, self._file("".join(lines)),
                self._file("hosts: files\n"), *command]

    def _file(self, text):
        with tempfile.NamedTemporaryFile("w", dir=self._folder.name, delete=False) as file:
            file.write(text)
        return file.name

    def _add_host(self, name, addresses):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            os.set_inheritable(theirs.fileno(), True)
            self._hosts[name] = subprocess.Popen(
                [*_namespaces(), sys.executable, "-B", os.path.abspath(__file__), str(theirs.fileno()), *addresses],
                stdin=subprocess.PIPE, pass_fds=[theirs.fileno()])
            ours.settimeout(DEADLINE)
            theirs.close()
            message, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
            if not message or not ancillary:
                raise AssertionError(f"the host {name} could not be made")
            self._ends[name] = array.array("i", ancillary[0][2])[0]

    def _carry(self):
        under_way = []  # (when, number, to, packet)
        number = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._stop_reading, selectors.EVENT_READ)
            for name, end in self._ends.items():
                os.set_blocking(end, False)
                selector.register(end, selectors.EVENT_READ, "server" if name == "client" else "client")
            while True:
                wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
                for key, _ in selector.select(wait):
                    if key.fileobj is self._stop_reading:
                        return
                    for packet in self._read_all(key.fd):
                        if self._passes(packet):
                            number += 1
                            heapq.heappush(under_way, (time.monotonic() + self._delay, number, key.data, packet))
                while under_way and under_way[0][0] <= time.monotonic():
                    _, _, to, packet = heapq.heappop(under_way)
                    with contextlib.suppress(OSError):  # a full queue, a host that is gone
                        os.write(self._ends[to], packet)

    @staticmethod
    def _read_all(end):
        with contextlib.suppress(BlockingIOError):
            while True:
                yield os.read(end, 2 * _MTU)

    def _passes(self, packet):
        is_ipv6 = packet[0] >> 4 == 6
        if self.swallows_ipv6 if is_ipv6 else self.swallows_ipv4:
            self.swallowed += carries_tcp(packet)
            return False
        if self._random.random() < self._loss:
            self.lost += carries_tcp(packet)
            return False
        self.passed += 1
        return True


def _be_host(channel, addresses):
    """Sets its own namespace up, hands its device over, and holds the namespace until its input ends."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"wire", _IFF_TUN | _IFF_NO_PI))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in addresses:
        more = ["nodad"] if ":" in address else []  # it is usable at once
        length = 64 if ":" in address else 24
        subprocess.run(["ip", "address", "add", f"{address}/{length}", "dev", "wire", *more], check=True)
    subprocess.run(["ip", "link", "set", "wire", "mtu", str(_MTU), "up"], check=True)
    with socket.socket(fileno=channel) as sender:
        socket.send_fds(sender, [b"x"], [device])
    os.close(device)
    sys.stdin.read()


if __name__ == "__main__":
    _be_host(int(sys.argv[1]), sys.argv[2:])
