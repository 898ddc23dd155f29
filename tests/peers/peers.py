"""The servers that are compared: how each is built and started. README.md says why so."""

import contextlib
import glob
import hashlib
import os
import subprocess
from typing import Callable, NamedTuple, Optional, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
SERVERS = os.path.join(HERE, "servers")
# Debian's: its modules (uvloop and so on) are for this one.
PYTHON = "/usr/bin/python3"

OPTIMIZED = "-O2"
# Paths under bazel-bin; each is the target of that name.
SLUICE_TARGETS = ("tools/sluice",)


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
    address: Optional[str] = None  # of one that does not tell it

    def serves(self, wire):
        return wire in self.wires


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
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    except OSError as error:
        raise Unavailable(f"{what}: {error.strerror}: {command[0]}") from None
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0:
        lines = text.splitlines() or [f"exit status {done.returncode}"]
        raise Unavailable(f"{what}: " + next((line for line in lines if "error" in line), lines[-1])[:300])
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
        build=lambda place: compiled(place, [f"servers/{source}"], compiler, [OPTIMIZED, *standard, *flags], libraries),
        command=lambda place, program, wire: [program, *arguments_of(place, wire)],
        version=lambda: ", ".join(f"{package} {package_version(package)}" for package in packages))


def build_load(place):
    names = ("load", "connection", "wire")
    return compiled(place, [f"load/{name}.c" for name in names], "gcc", ["-D_GNU_SOURCE", "-O2"],
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


# --- all of them

PEERS = (
    compiled_peer("floor", "floor.c", ("raw", "frame", "websocket", "broadcast"), (), ["-lcrypto"], flags=["-O3"]),
    Peer("sluice", WIRES, build=lambda place: None, command=sluice_command, version=sluice_version),
    compiled_peer("libuv", "libuv.c", ("raw", "frame"), ["libuv1-dev"], ["-luv"]),
)
