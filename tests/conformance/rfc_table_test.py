#!/usr/bin/env python3
"""Fails where a row of the README's tables of RFC 6455 and RFC 7692 is empty, or names a test that does not exist.

  rfc_table_test.py README CASES     run at the top of the tree; CASES is cases.txt

A row is "| section | what is demanded | held by |", and the last is "does not apply: WHY" or tests:
  `file_test.cc: Suite.Name`   a GoogleTest, in the README's folder where the file has none
  `file_test.py: test_name`    a method of a Python test
  `case 5.1`, `cases 5.1-20`   of the Autobahn test suite
"""

import os
import re
import sys
import tempfile
import unittest
from typing import Dict, Iterator, List, Set, Tuple

TABLES = ["### RFC 6455", "### RFC 7692"]
NOT_OURS = "does not apply: "
# So that a table that is cut short, or not read, is noticed.
FEWEST_ROWS = 20


def tables(readme: str) -> Iterator[Tuple[str, List[str]]]:
    """The heading and the rows of each table."""
    for heading in TABLES:
        _, found, rest = readme.partition("\n" + heading)
        section = re.split(r"\n#", rest)[0] if found else ""
        lines = [line for line in section.splitlines() if line.startswith("|")]
        yield heading, lines[2:]


def case_ids(text: str) -> Set[str]:
    ids = set()
    for section, first, last in re.findall(r"^([\d.]+)\.(\d+)-(\d+)$", text, re.MULTILINE):
        ids |= {f"{section}.{number}" for number in range(int(first), int(last) + 1)}
    return ids


def wanted_cases(reference: str) -> List[str]:
    """Of "case 5.1" or "cases 5.1-20"; none where it is neither."""
    match = re.fullmatch(r"case ([\d.]+\d)", reference)
    if match:
        return [match[1]]
    match = re.fullmatch(r"cases ([\d.]+)\.(\d+)-(\d+)", reference)
    if not match:
        return []
    return [f"{match[1]}.{number}" for number in range(int(match[2]), int(match[3]) + 1)]


class Checker:
    def __init__(self, folder: str, cases: Set[str]):
        self.folder = folder
        self.cases = cases
        self.sources: Dict[str, str] = {}

    def source(self, file: str) -> str:
        path = file if "/" in file else os.path.join(self.folder, file)
        if path not in self.sources:
            if not os.path.isfile(path):
                return ""
            with open(path, encoding="utf-8") as opened:
                self.sources[path] = opened.read()
        return self.sources[path]

    def has_test(self, file: str, name: str) -> bool:
        if file.endswith(".py"):
            return re.search(rf"\bdef {re.escape(name)}\(", self.source(file)) is not None
        suite, _, test = name.partition(".")
        return re.search(rf"\bTEST(_F|_P)?\(\s*{re.escape(suite)}\s*,\s*{re.escape(test)}\s*\)",
                         self.source(file)) is not None

    def reference_error(self, reference: str) -> str:
        if reference.startswith("case"):
            wanted = wanted_cases(reference)
            missing = [case for case in wanted if case not in self.cases]
            if wanted and not missing:
                return ""
            return f"`{reference}` is no case of cases.txt"
        file, colon, name = reference.partition(": ")
        if not colon:
            return f"`{reference}` is not `FILE: TEST` and not a case"
        return "" if self.has_test(file, name) else f"{file} has no test {name}"

    def row_errors(self, row: str) -> Iterator[str]:
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        if len(cells) != 3 or not all(cells):
            yield "a row has not three cells with something in each"
            return
        held = cells[2]
        if held.startswith(NOT_OURS) and len(held) > len(NOT_OURS) + 10:
            return
        references = re.findall(r"`([^`]+)`", held)
        if not references or re.sub(r"`[^`]+`", "", held).strip(" ,"):
            yield f"neither tests nor \"{NOT_OURS}WHY\""
        for reference in references:
            error = self.reference_error(reference)
            if error:
                yield error

    def errors(self, readme: str) -> Iterator[str]:
        for heading, rows in tables(readme):
            if len(rows) < FEWEST_ROWS:
                yield f"{heading}: {len(rows)} rows, which is too few to be the table"
            for row in rows:
                for error in self.row_errors(row):
                    yield f"{error}\n    {row}"


class CheckerTest(unittest.TestCase):
    """The checker finds what it is there to find."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with open(os.path.join(folder.name, "a_test.cc"), "w", encoding="utf-8") as file:
            file.write("TEST_F(Suite, Name) {}\nTEST(\n    Suite, Other) {}\n")
        self.checker = Checker(folder.name, case_ids("# 5\n5.1-20\n7.13.1-2\n"))

    def row(self, held: str) -> List[str]:
        return list(self.checker.row_errors(f"| 1 | what | {held} |"))

    def test_what_is_there(self):
        for held in ("`a_test.cc: Suite.Name`", "`a_test.cc: Suite.Other`, `case 5.20`", "`cases 7.13.1-2`",
                     NOT_OURS + "it binds others"):
            self.assertEqual(self.row(held), [], held)

    def test_what_is_not(self):
        for held in ("`a_test.cc: Suite.Nam`", "`a_test.cc: Suit.Name`", "`b_test.cc: Suite.Name`", "`a_test.cc`",
                     "`case 5.21`", "`cases 7.13.1-3`", "`case x`", "a test", "`case 5.1` more or less", NOT_OURS, ""):
            self.assertEqual(len(self.row(held)), 1, held)

    def test_tables_that_are_not_there(self):
        self.assertEqual(len(list(self.checker.errors("# nothing\n"))), len(TABLES))


def main() -> int:
    readme, cases = sys.argv[1:]
    with open(cases, encoding="utf-8") as file:
        checker = Checker(os.path.dirname(readme), case_ids(file.read()))
    with open(readme, encoding="utf-8") as file:
        found = list(checker.errors(file.read()))
    for error in found:
        print(error, file=sys.stderr)
    own = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(CheckerTest))
    return 1 if found or not own.wasSuccessful() else 0


if __name__ == "__main__":
    sys.exit(main())
