#!/usr/bin/env python3
"""Fails where a tracked file breaks a rule of the house that a line of text can show.

  tools/checks/source_style.py [FILE...]      all tracked files by default

A line that must break a rule says why, on itself or in the line above:   source_style: WHY   (in a comment)
"""

import os
import re
import subprocess
import sys
from typing import Callable, Iterator, List, NamedTuple

EXCUSE = "source_style: "


class Rule(NamedTuple):
    applies_to: Callable[[str], bool]
    pattern: str
    why: str


def is_cpp(path: str) -> bool:
    return path.endswith((".h", ".cc"))


def is_users(path: str) -> bool:
    """What stands in for a user's file: the examples of a README."""
    return path.startswith("tests/readme/")


def is_outside(path: str) -> bool:
    """What belongs to another project than sluice: it names its headers as it likes."""
    return is_users(path) or path.startswith("tests/consumer/")


def is_test(path: str) -> bool:
    # What users copy has the port of a real server.
    if is_users(path):
        return False
    return path.endswith("_test.cc") or (path.startswith("tests/") and path.endswith((".h", ".cc", ".py", ".js", ".mjs")))


RULES = [
    Rule(is_test, r"\b(sleep|usleep|nanosleep|sleep_for|sleep_until|SleepFor)\s*\(",
         "a test that sleeps is slow and still fails by chance: wait for the event, or use the simulated clock"),
    Rule(is_test, r"\babsl::Now\(|\bsystem_clock\b|\bsteady_clock\b|\bgettimeofday\b|\bclock_gettime\b|\btime\((NULL|nullptr|0)\)",
         "a test that reads a clock depends on the speed of the machine: use a manual clock"),
    Rule(is_test, r"(?i)(listen|connect|bind)\w*\b.*(\b127\.\d+\.\d+\.\d+|\b0\.0\.0\.0|\blocalhost|\[::1?\]):[1-9]"
                  r"|\bhtons\(\s*[1-9]|\bsin6?_port\s*=\s*[1-9]",
         "a fixed port may be taken: listen on port 0 and ask for the address"),
    Rule(is_cpp, r'^\s*#\s*include\s+"(core|tls|protocols|tools|tests)/',
         'sluice\'s own headers are included as "sluice/...", which is how users see them'),
    Rule(lambda path: True, r"(?<![\w.$}~*-])/(root|home|Users|work|mnt)/\w",
         "this names a path of somebody's machine"),
]


def header_guard(path: str) -> str:
    return "SLUICE_" + re.sub(r"[^A-Z0-9]", "_", path.upper()) + "_"


def errors(path: str, text: str) -> Iterator[str]:
    lines = text.splitlines()
    for rule in RULES:
        if not rule.applies_to(path):
            continue
        for number, line in enumerate(lines):
            excused = EXCUSE in line or (number > 0 and EXCUSE in lines[number - 1])
            if re.search(rule.pattern, line) and not excused:
                yield f"{path}:{number + 1}: {rule.why}\n    {line.strip()}"
    if path.endswith(".h") and not is_outside(path) and f"#ifndef {header_guard(path)}\n" not in text:
        yield f"{path}:1: the header guard is not {header_guard(path)}"


def tracked_files() -> List[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], check=True, stdout=subprocess.PIPE).stdout
    return [path for path in listing.decode().split("\0") if path and os.path.isfile(path)]


def main() -> int:
    files = sys.argv[1:] or tracked_files()
    found = []
    for path in files:
        with open(path, encoding="utf-8", errors="replace") as file:
            found += errors(path, file.read())
    for error in found:
        print(error, file=sys.stderr)
    print(f"source_style: {len(files)} files, {len(found)} errors")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
