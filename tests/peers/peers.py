"""The servers that are compared: how each is built and started. README.md says why so."""

import contextlib
import glob
import hashlib
import os
import socket
import subprocess
import sys
from typing import Callable, NamedTuple, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "process"))
from process import Failed, Process

SERVERS = os.path.join(HERE, "servers")
# Debian's: its modules (uvloop and so on) are for this one.
PYTHON = "/usr/bin/python3"

# As Bazel's -c opt for sluice.
OPTIMIZED = ("-O2", "-DNDEBUG")
# For a compiler on a machine that is busy.
BUILD_DEADLINE = 300
# Paths under bazel-bin; each is the target of that name.
SLUICE_TARGETS = ("tools/sluice", "protocols/resp/key_value_server", "tests/peers/broadcast")


class Unavailable(Exception):
    """A peer cannot be had here; says why, in a line."""


class Place(NamedTuple):
    """Where things are, and how they are built."""
    folder: str  # for what is built
    binaries: str  # sluice's, by the paths of their targets
    optimize: bool = True

    @property
    def certificate(self):
        return os.path.join(self.folder, "certificate.pem"), os.path.join(self.folder, "key.pem")


class Peer(NamedTuple):
    name: str
    wires: Tuple[str, ...]  # what it serves, of WIRES
    build: Callable  # Place -> what command needs; raises Unavailable
    command: Callable  # (Place, what build gave, wire) -> the arguments of the process
    version: Callable  # () -> text
    environment: dict = {}
    without: Tuple[str, ...] = ()  # cells in which it fails now and then
    kinds: Tuple[str, ...] = ()  # of cells, unless it is for all
    is_ranked: bool = True  # sluice is compared with it; that is not so of the bare loop, nor of sluice itself
    ready: str = r"listening on (?P<address>.+)"  # the line it prints once it accepts
    attempts: int = 1  # to start it: one that is told a port may find that somebody has taken it meanwhile

    def serves(self, cell):
        return (cell.wire in self.wires and cell.name not in self.without and
                (not self.kinds or cell.kind in self.kinds))


# What a server is asked to serve. All are echo servers but `broadcast` (WebSocket messages to all connections) and resp.
WIRES = ("raw", "frame", "websocket", "wss", "deflate", "broadcast", "resp")
_PROTOCOLS = {"wss": "websocket", "deflate": "websocket", "broadcast": "websocket"}


def protocol_of(wire):
    return _PROTOCOLS.get(wire, wire)


def arguments_of(place, wire):
    """What all servers of this folder understand."""
    extra = {"wss": ["--tls=" + ",".join(place.certificate)], "deflate": ["--deflate"], "broadcast": ["--broadcast"]}
    return [protocol_of(wire), *extra.get(wire, [])]


def output_of(command, what, **options):
    """Of a command that must succeed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
                              timeout=BUILD_DEADLINE, **options)
    except OSError as error:
        raise Unavailable(f"{what}: {error.strerror}: {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{what}: {command[0]} took more than {BUILD_DEADLINE} s") from None
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0:
        lines = text.splitlines() or [f"exit status {done.returncode}"]
        raise Unavailable(f"{what}: " + next((line for line in lines if "error" in line.lower()), lines[-1])[:300])
    return text


def package_version(package):
    try:
        return output_of(["dpkg-query", "--show", "--showformat=${Version}", package], package)
    except Unavailable:
        return "of unknown version"


# --- programs of C and C++


def compiled(place, sources, compiler, flags, libraries):
    """The path of the program; built unless it is there, made of the same."""
    paths = [os.path.join(HERE, source) for source in sources]
    digest = hashlib.sha256(repr((compiler, flags, libraries, place.optimize)).encode())
    for path in sorted({*paths, *glob.glob(f"{os.path.dirname(paths[0])}/*.h")}):
        with open(path, "rb") as file:
            digest.update(file.read())
    name = os.path.splitext(os.path.basename(paths[0]))[0]
    program = os.path.join(place.folder, f"{name}.{digest.hexdigest()[:16]}")
    if not os.path.exists(program):
        optimize = flags if place.optimize else [flag for flag in flags if not flag.startswith("-O")]
        made = f"{program}.{os.getpid()}"
        output_of([compiler, *optimize, "-o", made, *paths, *libraries], f"building {name}")
        os.rename(made, program)
    return program


def compiled_peer(name, source, wires, packages, libraries, compiler="gcc", flags=()):
    standard = ["-D_GNU_SOURCE"] if compiler == "gcc" else ["-std=c++17"]
    return Peer(
        name, wires,
        build=lambda place: compiled(place, [f"servers/{source}"], compiler, [*OPTIMIZED, *standard, *flags], libraries),
        command=lambda place, program, wire: [program, *arguments_of(place, wire)],
        version=lambda: ", ".join(f"{package} {package_version(package)}" for package in packages))


def build_load(place):
    names = ("load", "connection", "wire")
    return compiled(place, [f"load/{name}.c" for name in names], "gcc", [*OPTIMIZED, "-D_GNU_SOURCE"],
                    ["-lssl", "-lcrypto", "-lz"])


# --- sluice


def sluice_version():
    root = os.path.join(HERE, "..", "..")
    with contextlib.suppress(Unavailable):
        return "commit " + output_of(["git", "-C", root, "describe", "--always", "--dirty"], "sluice")
    return "as built"


def sluice_command(place, _, wire):
    def binary(target):
        return os.path.join(place.binaries, target)

    if wire == "broadcast":
        return [binary("tests/peers/broadcast")]
    if wire == "resp":
        return [binary("protocols/resp/key_value_server"), "--listen=127.0.0.1:0"]
    chain, key = place.certificate
    extra = {"wss": [f"--tls_cert={chain}", f"--tls_key={key}"], "deflate": ["--deflate"]}
    return [binary("tools/sluice"), "echo", "--listen=127.0.0.1:0", f"--protocol={protocol_of(wire)}",
            *extra.get(wire, [])]


def make_certificate(place):
    chain, key = place.certificate
    if not os.path.exists(chain):
        output_of(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                   "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                   "-keyout", key, "-out", chain], "the certificate")


# --- programs of other languages


def build_go(place, source, environment):
    program = os.path.join(place.folder, os.path.splitext(source)[0])
    # Go looks by itself whether it is still made of the same.
    output_of(["go", "build", "-o", program, os.path.join(SERVERS, source)], f"building {source}",
              env={**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOPATH": "/usr/share/gocode",
                   "GOCACHE": os.path.join(place.folder, "go"), **environment})
    return program


def go_peer(name, source, wires, package=None):
    def version():
        packages = f", {package} {package_version(package)}" if package else ""
        return output_of(["go", "version"], "go").removeprefix("go version ") + packages

    return Peer(name, wires, build=lambda place: build_go(place, source, {}),
                command=lambda place, program, wire: [program, *arguments_of(place, wire)],
                version=version, environment={"GOMAXPROCS": "1"})


def python_peer(name, source, wires, module, first=()):
    def version():
        expression = f"import sys, {module} as it; print(getattr(it, '__version__', ''), 'on Python', sys.version.split()[0])"
        return output_of([PYTHON, "-c", expression], f"Python's {module}")

    return Peer(name, wires, build=lambda place: version(),
                command=lambda place, _, wire: [PYTHON, "-B", os.path.join(SERVERS, source), *first,
                                                *arguments_of(place, wire)],
                version=lambda: version().strip())


NODE = {"NODE_PATH": os.path.join(HERE, "..", "integration", "node_modules"), "NODE_ENV": "production"}


def node_version():
    expression = "console.log(require('ws/package.json').version, 'on Node', process.version)"
    return output_of(["node", "-e", expression], "npm's ws", env={**os.environ, **NODE})


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def redis_command(place, _, wire):
    return ["redis-server", "--bind", "127.0.0.1", "--port", str(free_port()), "--save", "", "--appendonly", "no",
            "--tcp-backlog", "4096", "--dir", place.folder]


SLUICE = Peer("sluice", WIRES, build=lambda place: None, command=sluice_command, version=sluice_version,
              is_ranked=False)


def io_uring_command(place, built, wire):
    return [*sluice_command(place, built, wire), "--poller=io_uring"]


def try_io_uring(place):
    """A system may refuse it."""
    with Process(io_uring_command(place, None, "raw"), SLUICE.ready, BUILD_DEADLINE) as server:
        try:
            server.await_line()
        except Failed as reason:
            raise Unavailable(str(reason)) from None


# The same on its other engine, for which one asks by name.
IO_URING = SLUICE._replace(name="io_uring", wires=("raw", "websocket"), kinds=("echo",), build=try_io_uring,
                           command=io_uring_command)

# --- all of them

WEBSOCKET = ("websocket", "wss", "deflate", "broadcast")

PEERS = (
    compiled_peer("floor", "floor.c", ("raw", "frame", "websocket", "broadcast"), (), ["-lcrypto"],
                  flags=["-O3"])._replace(is_ranked=False),
    SLUICE,
    IO_URING,
    compiled_peer("libuv", "libuv.c", ("raw", "frame"), ["libuv1-dev"], ["-luv"]),
    compiled_peer("libevent", "libevent.c", ("raw", "frame"), ["libevent-dev"], ["-levent_core"]),
    compiled_peer("asio", "asio.cc", ("raw", "frame"), ["libboost-dev"], ["-lpthread"], "g++"),
    go_peer("go", "go_net.go", ("raw", "frame")),
    python_peer("asyncio", "asyncio_echo.py", ("raw", "frame"), "asyncio", ("asyncio",)),
    python_peer("uvloop", "asyncio_echo.py", ("raw", "frame"), "uvloop", ("uvloop",)),
    compiled_peer("beast", "beast.cc", WEBSOCKET, ["libboost-dev"], ["-lssl", "-lcrypto", "-lpthread"], "g++"),
    compiled_peer("libwebsockets", "libwebsockets.c", WEBSOCKET, ["libwebsockets-dev"], ["-lwebsockets"])._replace(
        without=("deflate_16384x1",)),
    compiled_peer("websocketpp", "websocketpp.cc", WEBSOCKET, ["libwebsocketpp-dev"],
                  ["-lssl", "-lcrypto", "-lz", "-lpthread"], "g++"),
    go_peer("gorilla", "gorilla.go", WEBSOCKET, "golang-github-gorilla-websocket-dev"),
    python_peer("websockets", "websockets_echo.py", WEBSOCKET, "websockets"),
    python_peer("aiohttp", "aiohttp_echo.py", WEBSOCKET, "aiohttp"),
    Peer("ws", WEBSOCKET, build=lambda place: node_version(),
         command=lambda place, _, wire: ["node", os.path.join(SERVERS, "ws.js"), *arguments_of(place, wire)],
         version=node_version, environment=NODE),
    Peer("redis", ("resp",), build=lambda place: output_of(["redis-server", "--version"], "redis-server"),
         command=redis_command, ready=".*Ready to accept connections.*", attempts=3,
         version=lambda: output_of(["redis-server", "--version"], "redis-server")),
)

NOT_RANKED = [peer.name for peer in PEERS if not peer.is_ranked]
