#!/usr/bin/env bash
# case_list_test.sh CASES TEST...: the tests in these binaries are the cases of the list, in both roles, and no others.

set -eu
list=$1
shift

# "1.1.1-8" as eight lines of "Case_1_1_<n>.<role>".
wanted() {
  awk '
    /^#/ || NF == 0 { next }
    !/^[0-9]+(\.[0-9]+)+-[0-9]+$/ { print "a line of the list is malformed: " $0 > "/dev/stderr"; exit 1 }
    {
      split($0, range, "-")
      section = range[1]
      sub(/\.[0-9]+$/, "", section)
      first = substr(range[1], length(section) + 2)
      gsub(/\./, "_", section)
      for (i = first + 0; i <= range[2] + 0; i++) {
        print "Case_" section "_" i ".AsClient"
        print "Case_" section "_" i ".AsServer"
      }
    }' "$list"
}

# gtest lists "Suite." and, indented, its tests.
registered() {
  local test
  for test in "$@"; do
    "$test" --gtest_list_tests | awk '/^[^ ]/ { suite = $1 } /^ / { print suite $1 }'
  done
}

unset TEST_TOTAL_SHARDS TEST_SHARD_INDEX
wanted | sort >"$TEST_TMPDIR/wanted"
registered "$@" | sort >"$TEST_TMPDIR/registered"
[ -s "$TEST_TMPDIR/wanted" ]
if ! diff "$TEST_TMPDIR/wanted" "$TEST_TMPDIR/registered"; then
  echo "< is a case of the list without a test, or > a test that the list does not have" >&2
  exit 1
fi
