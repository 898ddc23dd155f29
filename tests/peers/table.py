"""What the rounds come to: medians, ratios to the floor and to the best peer, and the table as text."""

import statistics
from typing import NamedTuple, Optional

import cells
import peers

NOISE = 0.03


class Row(NamedTuple):
    """One figure of one cell."""
    cell: object
    figure: object
    values: dict  # {peer: median}
    to_floor: dict  # {peer: median of the ratios in each round}, where there is a floor
    best_peer: Optional[str]  # of those that are ranked
    to_best: Optional[float]  # sluice's
    rank: str  # a word


def _median_ratio(rounds, one, other, figure):
    ratios = [values[one][figure] / values[other][figure] for values in rounds
              if one in values and other in values and values[other][figure] > 0]
    return statistics.median(ratios) if ratios else None


def _rank(figure, values, best, to_best):
    if "sluice" not in values:
        return "failed"
    if best is None:
        return "alone"
    if to_best is None:
        return "incomparable"  # the best peer's figures are 0, or of other rounds
    behind = 1 / to_best if figure.more_is_better else to_best
    if behind <= 1:
        return "first"
    return "within 3 %" if behind <= 1 + NOISE else "behind"


def rows(results):
    """`results` is {cell: [{peer: {figure: value}} of each round]}."""
    for cell_name, rounds in results.items():
        cell = cells.BY_NAME[cell_name]
        names = list(dict.fromkeys(name for values in rounds for name in values))
        for figure in cell.figures:
            values = {name: statistics.median(values[name][figure.name] for values in rounds if name in values)
                      for name in names}
            to_floor = {name: _median_ratio(rounds, name, "floor", figure.name) for name in names} \
                if "floor" in names else {}
            others = [name for name in names if name not in peers.NOT_RANKED]
            best = (max if figure.more_is_better else min)(others, key=values.get) if others else None
            to_best = _median_ratio(rounds, "sluice", best, figure.name) if best and "sluice" in values else None
            yield Row(cell, figure, values, to_floor, best, to_best, _rank(figure, values, best, to_best))


def ratio_text(ratio):
    return "–" if ratio is None else f"{ratio:.2f}"


def value_text(value, figure):
    return "–" if value is None else f"{value:,.{figure.digits}f}"


def text(results):
    """A line for each figure of each cell."""
    table = [("cell", "figure", "sluice", "÷ floor", "best peer", "", "÷ best", "sluice is")]
    for row in rows(results):
        table.append((row.cell.title, f"{row.figure.name}, {row.figure.unit}",
                      value_text(row.values.get("sluice"), row.figure), ratio_text(row.to_floor.get("sluice")),
                      row.best_peer or "–", value_text(row.values.get(row.best_peer), row.figure),
                      ratio_text(row.to_best), row.rank))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    left = {0, 1, 4, 7}
    return "\n".join("  ".join(text.ljust(width) if i in left else text.rjust(width)
                               for i, (text, width) in enumerate(zip(line, widths))).rstrip() for line in table)
