"""What is measured: each cell is one load on one kind of server."""

from typing import NamedTuple, Tuple


class Figure(NamedTuple):
    name: str
    unit: str
    digits: int = 3
    more_is_better: bool = False


PROCESSOR = Figure("processor", "µs a message")
RATE = Figure("rate", "messages a second", 0, more_is_better=True)


class Cell(NamedTuple):
    name: str  # for --cells
    title: str
    wire: str  # of peers.WIRES
    kind: str  # how it is measured: a function of measure.py
    figures: Tuple[Figure, ...]  # the first is what sluice is ranked by
    load: dict = {}  # flags of load.c
    once: bool = False  # a count, which is the same in every round


def _size(count):
    for unit, bytes_each in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if count >= bytes_each:
            return f"{count // bytes_each} {unit}"
    return f"{count} B"


def _echo(wire, title, size, pipeline):
    return Cell(f"{wire}_{size}x{pipeline}", f"{title}, {_size(size)}, {pipeline} in flight", wire, "echo",
                (PROCESSOR, RATE), {"mode": "echo", "size": size, "pipeline": pipeline})


def _many(wire, title, pipeline):
    return Cell(f"{wire}_many_1024x{pipeline}", f"{title}, 1,000 connections, 1 KiB, {pipeline} in flight", wire, "echo",
                (PROCESSOR, RATE), {"mode": "echo", "size": 1024, "pipeline": pipeline, "connections": 1000})


def _resp():
    for command, size in (("set", 64), ("get", 64), ("get", 1024)):
        yield Cell(f"resp_{command}_{size}", f"RESP {command.upper()}, {_size(size)}, 16 in flight", "resp",
                   "resp_get" if command == "get" else "echo", (PROCESSOR, RATE),
                   {"protocol": f"resp_{command}", "mode": "echo", "size": size, "pipeline": 16})


def _latency(wire, title):
    return Cell(f"latency_{wire}", f"latency of {title} echo, 1 KiB, half of the saturating rate", wire, "latency",
                (Figure("p99", "µs", 0), Figure("p99.9", "µs", 0)), {"mode": "rate", "size": 1024})


def _calls(wire, title):
    """Of messages so small that a burst always comes in one piece."""
    return Cell(f"calls_{wire}", f"system calls of {title} echo, 64 B, 16 in flight", wire, "calls",
                (Figure("calls", "system calls a message"),),
                {"mode": "lockstep", "size": 64, "pipeline": 16, "connections": 1, "messages": 1600}, once=True)


def _set_up(wire, title):
    return Cell(f"set_up_{wire}", f"{title} connections opened, used, closed", wire, "echo",
                (Figure("processor", "µs a connection", 1), Figure("rate", "connections a second", 0, True)),
                {"mode": "set_up", "size": 64})


def _memory(wire, title):
    return Cell(f"memory_{wire}", f"memory of idle {title} connections", wire, "memory",
                (Figure("memory", "bytes a connection", 0),),
                {"mode": "hold", "size": 64}, once=True)


CELLS = (
    *(_echo("raw", "raw echo", size, pipeline) for size in (64, 1024, 16384) for pipeline in (1, 16)),
    *(_many("raw", "raw echo", pipeline) for pipeline in (1, 16)),
    *(_echo("frame", "framed echo", size, pipeline) for size, pipeline in ((1024, 1), (1024, 16), (16384, 16))),
    *(_echo("websocket", "WebSocket echo", size, pipeline) for size in (64, 1024, 16384) for pipeline in (1, 16)),
    _echo("websocket", "WebSocket echo", 1024 * 1024, 1),
    *(_many("websocket", "WebSocket echo", pipeline) for pipeline in (1, 16)),
    *(_echo("wss", "WebSocket echo over TLS", size, pipeline)
      for size, pipeline in ((1024, 1), (1024, 16), (16384, 1), (16384, 16))),
    *(_echo("deflate", "compressed WebSocket echo", size, pipeline)
      for size, pipeline in ((1024, 1), (1024, 16), (16384, 1))),
    *_resp(),
    *(_latency(wire, title) for wire, title in (("raw", "raw"), ("frame", "framed"), ("websocket", "WebSocket"))),
    *(_calls(wire, title) for wire, title in (("raw", "raw"), ("frame", "framed"), ("websocket", "WebSocket"))),
    Cell("broadcast_1024", "WebSocket broadcast to 200, 1 KiB", "broadcast", "echo",
         (Figure("processor", "µs a delivery"), Figure("rate", "deliveries a second", 0, more_is_better=True)),
         {"mode": "broadcast", "size": 1024, "connections": 200}),
    *(_set_up(wire, title) for wire, title in (("raw", "TCP"), ("websocket", "WebSocket"), ("wss", "WebSocket over TLS"))),
    *(_memory(wire, title) for wire, title in (("raw", "TCP"), ("websocket", "WebSocket"), ("wss", "WebSocket over TLS"))),
)

BY_NAME = {cell.name: cell for cell in CELLS}
