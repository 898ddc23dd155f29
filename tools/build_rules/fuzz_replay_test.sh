#!/bin/sh
# What a fuzz target does as an ordinary test.

set -eu

target=$1
input=${TEST_TMPDIR:-$(mktemp -d)}/input

status_of() {
  status=0
  "$@" >/dev/null 2>&1 || status=$?
  echo "$status"
}

expect() {
  [ "$2" = "$3" ] || {
    echo "FAILED: $1: status $2, not $3"
    exit 1
  }
}

echo harmless >"$input"
expect "a harmless file passes" "$(status_of "$target" "$input")" 0
echo bug >"$input.bug"
expect "a file that aborts fails" "$(status_of "$target" "$input" "$input.bug")" 134
expect "a file that is not there fails" "$(status_of "$target" "$input.none")" 2
expect "an empty corpus fails" "$(status_of "$target")" 2
