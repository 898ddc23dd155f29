"""What was measured as one HTML page that needs nothing else, in light and in dark, on a screen or a telephone."""

import html

import table

# A bar that would be longer than this many times the best is cut off.
LONGEST = 5

SECTIONS = (
    ("raw", "Echo of bytes"), ("frame", "Echo of frames"), ("websocket", "WebSocket echo"),
    ("wss", "WebSocket echo over TLS"), ("deflate", "Compressed WebSocket echo"), ("resp", "RESP"),
    ("latency", "Latency"), ("calls", "System calls"), ("broadcast", "Broadcast"), ("set_up", "Connections set up"),
    ("memory", "Memory of idle connections"),
)

STYLE = """
:root { color-scheme: light dark; --text: #1d2430; --soft: #5b6675; --page: #fbfbfc; --card: #ffffff; --line: #dde1e7;
  --bar: #b9c2cf; --floor: #8792a1; --sluice: #0b62c4; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --soft: #9ba6b5; --page: #14171c; --card: #1c2027;
  --line: #323944; --bar: #465263; --floor: #74808f; --sluice: #4c9ffe; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; background: var(--page); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .4rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: .95rem; margin: 0; } p { margin: .3rem 0; } .soft { color: var(--soft); font-size: .87rem; }
a { color: inherit; } table { border-collapse: collapse; width: 100%; font-size: .87rem; }
th, td { text-align: right; padding: .25rem .4rem; border-bottom: 1px solid var(--line); vertical-align: top;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } th { font-weight: 600; color: var(--soft); }
.rank { font-weight: 600; white-space: nowrap; } .behind { text-decoration: underline; }
@media (max-width: 36rem) { .peer { display: none; } }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: .8rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem .9rem; }
.figure { margin-top: .6rem; } .figure svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); } svg .value { text-anchor: end; }
svg .ours { font-weight: 700; } .bar { fill: var(--bar); } .bar.ours { fill: var(--sluice); }
.bar.floor { fill: none; stroke: var(--floor); stroke-dasharray: 3 2; }
"""

_ROW, _WIDTH, _NAMES, _VALUES = 20, 400, 100, 125


def _text(value):
    return html.escape(str(value))


def _bar(y, name, row, best):
    """One server: its name, a bar, the value and how often the floor's that is."""
    value = row.values[name]
    room = _WIDTH - _NAMES - _VALUES
    longest = max(row.values.values()) if row.figure.more_is_better else min(max(row.values.values()), LONGEST * best)
    is_cut = value > longest
    length = max(1, room * min(value, longest) / longest) if longest > 0 else 1
    kind = {"sluice": " ours", "floor": " floor"}.get(name, "")
    value_text = table.value_text(value, row.figure)
    if row.to_floor.get(name) is not None:
        value_text += f"  ×{table.ratio_text(row.to_floor[name])}"
    cut = f'<text x="{_NAMES + length - 14:.1f}" y="{y + 13}">»</text>' if is_cut else ""
    return (f'<text class="{kind.strip()}" x="0" y="{y + 13}">{_text(name)}</text>'
            f'<rect class="bar{kind}" x="{_NAMES}" y="{y + 3}" width="{length:.1f}" height="13" rx="2"/>{cut}'
            f'<text class="value{kind}" x="{_WIDTH}" y="{y + 13}">{_text(value_text)}</text>')


def _picture(row):
    order = sorted(row.values, key=row.values.get, reverse=row.figure.more_is_better)
    best = row.values[order[0]]
    bars = "".join(_bar(_ROW * i, name, row, best) for i, name in enumerate(order))
    better = "more is better" if row.figure.more_is_better else "less is better"
    unit = f"{row.figure.unit}, {better}" + (" (× floor)" if row.to_floor else "")
    label = f"{row.cell.title}: {row.figure.name}, {row.figure.unit}"
    return (f'<div class="figure"><p class="soft">{_text(row.figure.name)}, {_text(unit)}</p>'
            f'<svg viewBox="0 0 {_WIDTH} {_ROW * len(order)}" role="img" aria-label="{_text(label)}">{bars}</svg></div>')


def _verdict(row):
    without_ratio = {"failed": "sluice has failed here", "alone": "sluice has no peer here",
                     "incomparable": f"sluice has no round that can be compared with {row.best_peer}’s"}
    return without_ratio.get(row.rank) or \
        f"sluice is {row.rank}: {table.ratio_text(row.to_best)} of {row.best_peer}’s"


def _card(rows):
    first = rows[0]
    pictures = "".join(map(_picture, rows))
    return (f'<section class="card" id="{_text(first.cell.name)}"><h3>{_text(first.cell.title)}</h3>'
            f'<p class="soft">{_text(_verdict(first))}</p>{pictures}</section>')


def _summary(rows):
    lines = "".join(
        f'<tr><td><a href="#{_text(row.cell.name)}">{_text(row.cell.title)}</a></td>'
        f'<td>{table.ratio_text(row.to_floor.get("sluice"))}</td><td>{table.ratio_text(row.to_best)}</td>'
        f'<td class="peer">{_text(row.best_peer or "–")}</td><td class="rank {_text(row.rank)}">{_text(row.rank)}</td></tr>'
        for row in rows)
    return ("<table><thead><tr><th>sluice’s cost</th><th>÷ floor</th><th>÷ best</th><th class=\"peer\">best peer</th><th>sluice is</th>"
            f"</tr></thead><tbody>{lines}</tbody></table>")


def _list(title, entries):
    if not entries:
        return ""
    items = "".join(f"<li>{_text(name)}: {_text(text)}</li>" for name, text in entries.items())
    return f'<h2>{_text(title)}</h2><ul class="soft">{items}</ul>'


def _how(told):
    rounds = "one short round: this shows that it works, not how fast" if told["is_quick"] else \
        f"medians of up to {told['rounds']} rounds, by turns"
    return (f"{told['processor']}, {told['kernel']}, {told['date']}; servers on processor {told['processors']['servers']}, "
            f"the load on {told['processors']['load']}; {rounds}. Processor time is what the kernel counts for the "
            "server’s threads; a ratio is the median of the ratios within each round.")


def page(told, results):
    rows = list(table.rows(results))
    by_cell = {}
    for row in rows:
        by_cell.setdefault(row.cell.name, []).append(row)
    sections = ""
    for prefix, title in SECTIONS:
        cards = "".join(_card(of_cell) for name, of_cell in by_cell.items() if name.startswith(prefix + "_"))
        if cards:
            sections += f'<h2>{_text(title)}</h2><div class="cards">{cards}</div>'
    versions = {name: version for name, version in told["versions"].items() if version}
    return ("<!DOCTYPE html>\n"
            '<html lang="en"><head><meta charset="utf-8"/>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
            f"<title>sluice beside other servers</title><style>{STYLE}</style></head><body>"
            f'<h1>sluice beside other servers</h1><p class="soft">{_text(_how(told))}</p>'
            f"<h2>Summary</h2>{_summary([of_cell[0] for of_cell in by_cell.values()])}{sections}"
            f"{_list('Went wrong', told['failed'])}{_list('Left out', told['left_out'])}{_list('Versions', versions)}"
            "</body></html>\n")
