#!/usr/bin/env python3
"""Fails where an edge between two targets runs against the layers of the design.

  core      -> Abseil, the kernel; c-ares only where ASKING_NAME_SERVERS says so
  tls       -> core, BoringSSL
  protocols -> core; a protocol never another one, only what all share in //protocols/codec and internal; never tls;
               a compressor only where COMPRESSORS says so; BoringSSL only where INSECURE does
  tools     -> everything but tests
Inside core, a target reaches only what stands below it (CORE_REACHES). What a command line of a user's own is made of
brings no protocol and no TLS with it (WITHOUT_PROTOCOLS).

  tools/bazel query --noimplicit_deps --notool_deps --output=xml //... | tools/checks/layering.py
"""

import sys
from typing import Iterator, List, Set

import build_graph
from build_graph import Graph, Target, package, repository

TOOLCHAIN = {"bazel_tools", "platforms"}
FOR_TESTS = {"com_google_googletest", "com_github_google_benchmark"}
ABSEIL = {"com_google_absl"}
BORINGSSL = {"boringssl"}

# For each layer: the layers and the repositories that it may name. tools may name any repository, tests everything.
LAYERS = {
    "core": ({"core"}, ABSEIL),
    "tls": ({"core", "tls"}, ABSEIL | BORINGSSL),
    "protocols": ({"core", "protocols"}, ABSEIL),
    "tools": ({"core", "tls", "protocols", "tools", "third_party"}, None),
}
# The targets whose purpose it is, so that nothing else links one.
COMPRESSORS = {"libdeflate", "zlib"}
COMPRESSING = {"//protocols/usp:compression", "//protocols/usp:zlib_frame_codec", "//protocols/websocket:deflate"}
NAME_SERVER_CLIENTS = {"c-ares"}
ASKING_NAME_SERVERS = {"//core/internal:cares_channel"}
# Encryption that is no protection, for talking to old peers: that is what BoringSSL is for in a protocol. Who wants it
# names it; of sluice nothing does, but tests.
INSECURE = {"//protocols/usp:legacy_crypto"}
# Packages that tests and benchmarks of every layer may name beside these.
TEST_PACKAGES = {"tools/build_rules"}

# What a target of //core may reach, through any chain of targets. Targets that are not here are the parts of these
# and are seen through them: a new concept of core belongs in this table.
_BASE = {"monotonic_time", "slice"}
_BELOW_POLLER = _BASE | {"buffer", "socket_address"}
_BELOW_LOOP = _BELOW_POLLER | {"poller", "epoll_poller", "kqueue_poller", "poller_factory", "timer"}
_BELOW_TCP = _BELOW_LOOP | {"event_loop", "stream"}
_ABOVE_TCP = _BELOW_TCP | {"tcp", "dialer", "forwarder", "name_dialer", "udp", "resolver", "pool", "pooled_dialer",
                           "loop_group"}
CORE_REACHES = {
    "monotonic_time": set(),
    "slice": set(),
    "buffer": _BASE,
    "timer": {"monotonic_time"},
    "socket_address": set(),
    "stream": _BASE | {"buffer"},
    "poller": _BELOW_POLLER,
    "epoll_poller": _BELOW_POLLER | {"poller"},
    "kqueue_poller": _BELOW_POLLER | {"poller"},
    "poller_factory": _BELOW_POLLER | {"poller", "epoll_poller", "kqueue_poller"},
    "event_loop": _BELOW_LOOP,
    "signals": _BELOW_LOOP | {"event_loop"},
    "tcp": _BELOW_TCP,
    "dialer": _BELOW_TCP | {"tcp"},
    "udp": _BELOW_TCP,
    "resolver": _BELOW_TCP,
    "caching_resolver": _BELOW_TCP | {"resolver"},
    "resolver_cares": _BELOW_TCP | {"resolver"},
    "fake_resolver": _BELOW_TCP | {"resolver"},
    "system_resolver": _BELOW_TCP | {"resolver"},
    "name_dialer": _BELOW_TCP | {"tcp", "dialer", "resolver"},
    "forwarder": _BELOW_TCP | {"tcp"},
    "pool": _BELOW_TCP | {"tcp", "dialer"},
    "pooled_dialer": _BELOW_TCP | {"tcp", "dialer", "pool"},
    "loop_group": _BELOW_TCP | {"tcp"},
    "coroutine": _ABOVE_TCP,
    "simulation": _ABOVE_TCP,
}


# What a command line is made of, whose main names the protocols that it has: these bring none, and none of what one
# needs. A proxy's protocol only leads to the server: every command line has --proxy.
WITHOUT_PROTOCOLS = ["//tools:codec_protocol", "//tools:sluice_main"]
WITH_ALL_COMMAND_LINES = ("", "proxy")


def layer(label: str) -> str:
    return package(label).split("/")[0]


def protocol(label: str) -> str:
    """"framing" of "//protocols/framing/internal:x"; "" for what all protocols share."""
    parts = package(label).split("/")
    return parts[1] if len(parts) > 1 and parts[1] not in ("codec", "internal") else ""


def edge_error(target: Target, to: str) -> str:
    """Why `target` may not name `to`, or "" if it may."""
    own = layer(target.label)
    if own not in LAYERS:
        return ""
    layers, repositories = LAYERS[own]
    if repository(to):
        allowed = repositories is None or repository(to) in repositories | TOOLCHAIN
        allowed = allowed or (target.testonly and repository(to) in FOR_TESTS)
        allowed = allowed or (target.label in COMPRESSING and repository(to) in COMPRESSORS)
        allowed = allowed or (target.label in ASKING_NAME_SERVERS and repository(to) in NAME_SERVER_CLIENTS)
        allowed = allowed or (target.label in INSECURE and repository(to) in BORINGSSL)
        return "" if allowed else f"{own} does not use @{repository(to)}"
    if target.testonly and package(to) in TEST_PACKAGES:
        return ""
    if to in INSECURE and not target.testonly:
        return "it is insecure, and for users who name it"
    if layer(to) not in layers:
        return f"{own} does not know {layer(to) or 'the top level'}"
    if own == layer(to) == "protocols" and protocol(to) not in ("", protocol(target.label)):
        return "a protocol does not know another one"
    return ""


def reached(graph: Graph, start: str) -> Set[str]:
    found, waiting = set(), [start]
    while waiting:
        target = graph.get(waiting.pop())
        new = set(target.inputs) - found if target else set()
        found |= new
        waiting += new
    return found


def core_errors(graph: Graph) -> Iterator[str]:
    for name, may_reach in CORE_REACHES.items():
        label = f"//core:{name}"
        below = reached(graph, label)
        for other in sorted(CORE_REACHES.keys() - may_reach - {name}):
            if f"//core:{other}" in below:
                yield f"{label} reaches //core:{other}: inside core, {name} does not know {other}"
        if name != "resolver_cares" and any(repository(other) in NAME_SERVER_CLIENTS for other in below):
            yield f"{label} reaches c-ares: only who names //core:resolver_cares links that"


def command_line_errors(graph: Graph) -> Iterator[str]:
    for label in WITHOUT_PROTOCOLS:
        for other in sorted(reached(graph, label)):
            if repository(other):
                unwanted = repository(other) in BORINGSSL | COMPRESSORS | NAME_SERVER_CLIENTS
            else:
                unwanted = layer(other) == "tls" or (layer(other) == "protocols" and protocol(other) not in WITH_ALL_COMMAND_LINES)
            if unwanted:
                yield f"{label} reaches {other}: a command line has the protocols that its main names"


def errors(graph: Graph) -> List[str]:
    found = []
    for target in graph.values():
        for to in target.inputs:
            why = edge_error(target, to)
            if why:
                found.append(f"{target.label} -> {to}: {why}")
    return found + list(core_errors(graph)) + list(command_line_errors(graph))


def main() -> int:
    graph = build_graph.read_argument(build_graph.argument_parser(__doc__).parse_args().graph)
    found = errors(graph)
    for error in found:
        print(error, file=sys.stderr)
    print(f"layering: {len(graph)} targets, {len(found)} forbidden edges")
    return 1 if found or not graph else 0


if __name__ == "__main__":
    sys.exit(main())
