#!/usr/bin/env python3
"""Fails where the public targets differ from public_targets.golden, the list of what users may depend on.

  tools/bazel query --noimplicit_deps --notool_deps --output=xml //... | tools/checks/public_targets.py [--update]
"""

import difflib
import os
import re
import sys
from typing import List

import build_graph
from build_graph import Graph

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "public_targets.golden")
HEADER = """\
# What users may depend on: every target with public visibility. Taking one away breaks them.
# After a wanted change: tools/checks/public_targets.py --update (its --help says how).
"""


def public_targets(graph: Graph) -> List[str]:
    return sorted(target.label for target in graph.values() if target.public)


def difference(golden: str, graph: Graph) -> List[str]:
    """Lines that say what differs; none if nothing does."""
    expected = [line for line in golden.splitlines() if line and not line.startswith("#")]
    changes = difflib.ndiff(expected, public_targets(graph))
    says = {"+ ": "is public, but is not in public_targets.golden", "- ": "is in public_targets.golden, but is not public"}
    return [f"{line[2:]} {says[line[:2]]}" for line in changes if line[:2] in says]


def default_is_private(build: str) -> bool:
    """Whether a BUILD file says who sees its targets by default, and does not say everybody."""
    default = re.search(r"^package\([^)]*default_visibility = \[([^\]]*)\]", build, re.MULTILINE)
    return default is not None and "//visibility:public" not in default.group(1)


def packages_not_private(root: str, packages: List[str]) -> List[str]:
    """A package that is public by default makes targets public that nobody has listed."""
    found = []
    for name in packages:
        with open(os.path.join(root, name, "BUILD"), encoding="utf-8") as build:
            if not default_is_private(build.read()):
                found.append(f"{name or '.'}/BUILD does not begin with a package() whose default_visibility is private")
    return found


def main() -> int:
    parser = build_graph.argument_parser(__doc__)
    parser.add_argument("--update", action="store_true", help="write the golden file")
    args = parser.parse_args()
    graph = build_graph.read_argument(args.graph)
    if args.update:
        with open(GOLDEN, "w", encoding="utf-8") as golden:
            golden.write(HEADER + "".join(f"{label}\n" for label in public_targets(graph)))
        return 0
    with open(GOLDEN, encoding="utf-8") as golden:
        found = difference(golden.read(), graph)
    root = os.path.join(os.path.dirname(GOLDEN), "..", "..")
    found += packages_not_private(root, sorted({build_graph.package(label) for label in graph}))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("\nIf users are to have what changed:\n"
              f"  {build_graph.QUERY} | tools/checks/public_targets.py --update", file=sys.stderr)
    print(f"public_targets: {len(public_targets(graph))} public, {len(found)} errors")
    return 1 if found or not graph else 0


if __name__ == "__main__":
    sys.exit(main())
