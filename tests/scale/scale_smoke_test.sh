#!/usr/bin/env bash
# That each part of scale.py does its work, with few connections; it fails unless all are held and answered.
#
#   scale_smoke_test.sh SCALE SLUICE

set -eu

json=$(mktemp)
trap 'rm -f "$json"' EXIT
ulimit -n 250 # so that there are several loops, several processes
/usr/bin/python3 -B "$1" --sluice="$2" --connections=450 --seconds=1 --json="$json"
/usr/bin/python3 -B - "$json" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    figures = json.load(file)
assert [row["loops"] for row in figures["loops"]] == [1, 2, 4], figures
assert [(row["of"], row["tables"]) for row in figures["held"]] == [("loops", 3), ("processes", 3)], figures
for row in figures["held"]:
    assert row["messages"] >= row["connections"] == 450, row
assert all(row["connections_per_second"] > 0 for row in figures["churn"]), figures
PYTHON
