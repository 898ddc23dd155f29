#!/usr/bin/env bash
# readme_test.sh README FILE... --excerpts FILE...: the README's blocks of C++ are these files, letter for letter, the last
# ones in part. (That they compile is seen by building them, which this test's data does.)

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
if [ "$blocks" != $(($# - 1)) ]; then
  echo "README.md has $blocks blocks of C++, and $(($# - 1)) are compiled as tests" >&2
  exit 1
fi
number=0
excerpts=false
for file in "$@"; do
  if [ "$file" = --excerpts ]; then
    excerpts=true
    continue
  fi
  number=$((number + 1))
  if $excerpts; then
    if [[ $(<"$file") != *"$(block "$number")"* ]]; then
      echo "block $number of C++ in README.md is not in $file" >&2
      exit 1
    fi
  elif ! diff <(block "$number") "$file"; then
    echo "block $number of C++ in README.md is not $file" >&2
    exit 1
  fi
done
