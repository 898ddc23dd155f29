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
    return f"{count // 1024} KiB" if count >= 1024 else f"{count} B"


def _echo(wire, title, size, pipeline):
    return Cell(f"{wire}_{size}x{pipeline}", f"{title}, {_size(size)}, {pipeline} in flight", wire, "echo",
                (PROCESSOR, RATE), {"mode": "echo", "size": size, "pipeline": pipeline})


CELLS = (
    *(_echo("raw", "raw echo", size, pipeline) for size in (64, 1024, 16384) for pipeline in (1, 16)),
    *(_echo("frame", "framed echo", size, pipeline) for size, pipeline in ((1024, 1), (1024, 16), (16384, 16))),
    *(_echo("websocket", "WebSocket echo", size, pipeline) for size in (64, 1024, 16384) for pipeline in (1, 16)),
    *(_echo("wss", "WebSocket echo over TLS", size, pipeline)
      for size, pipeline in ((1024, 1), (1024, 16), (16384, 16))),
    *(_echo("deflate", "compressed WebSocket echo", size, pipeline) for size, pipeline in ((1024, 1), (1024, 16))),
)

BY_NAME = {cell.name: cell for cell in CELLS}
