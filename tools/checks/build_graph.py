"""The targets of the repository and the edges between them, read from `bazel query --output=xml`."""

import argparse
import re
import sys
from typing import Dict, List, NamedTuple
from xml.etree import ElementTree

QUERY = "tools/bazel query --noimplicit_deps --notool_deps --output=xml //..."


class Target(NamedTuple):
    label: str
    kind: str
    testonly: bool
    public: bool
    inputs: List[str]  # labels of everything that it names: deps, data, sources


Graph = Dict[str, Target]


def read(xml: str) -> Graph:
    # Bazel declares XML 1.1, which Python's parser refuses; what it writes is plain 1.0.
    root = ElementTree.fromstring(re.sub(r"^<\?xml[^>]*\?>", "", xml))
    graph = {}
    for rule in root.iter("rule"):
        label = rule.get("name")
        kind = rule.get("class")
        graph[label] = Target(
            label=label,
            kind=kind,
            testonly=kind.endswith("_test") or rule.find("boolean[@name='testonly'][@value='true']") is not None,
            public=rule.find("list[@name='visibility']/label[@value='//visibility:public']") is not None,
            inputs=[edge.get("name") for edge in rule.findall("rule-input")],
        )
    return graph


def repository(label: str) -> str:
    """"com_google_absl" of "@com_google_absl//absl/strings"; "" for sluice itself."""
    return label.lstrip("@").split("//")[0] if label.startswith("@") else ""


def package(label: str) -> str:
    """"core/internal" of "//core/internal:x"."""
    return label.split("//")[1].split(":")[0]


def argument_parser(doc: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", metavar="FILE", help=f"the output of: {QUERY} (default: standard input)")
    return parser


def read_argument(path: str) -> Graph:
    if path is None:
        return read(sys.stdin.read())
    with open(path, encoding="utf-8") as file:
        return read(file.read())
