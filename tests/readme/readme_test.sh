#!/usr/bin/env bash
# readme_test.sh README FILE...: the README holds each file, letter for letter, as a block of C++. (That they compile is
# seen by building them, which this test's data does.)

set -eu
readme=$1
shift

# The N-th block of C++ in the README.
block() {
  awk -v wanted="$1" '
    /^```$/ && inside { inside = 0 }
    inside && count == wanted { print }
    /^```cpp$/ { inside = 1; count++ }
  ' "$readme"
}

blocks=$(grep -c '^```cpp$' "$readme")
if [ "$blocks" != $# ]; then
  echo "README.md has $blocks blocks of C++, and $# are compiled as tests" >&2
  exit 1
fi
number=0
for file in "$@"; do
  number=$((number + 1))
  if ! diff <(block "$number") "$file"; then
    echo "block $number of C++ in README.md is not $file" >&2
    exit 1
  fi
done
