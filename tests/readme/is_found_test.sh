#!/bin/sh
# is_found_test.sh TEST WORDS: a test of a codec with a planted bug fails, and says one of the words (an extended regular
# expression).

set -eu

test=$1
words=$2

status=0
told=$("$test" 2>&1) || status=$?
if [ "$status" = 0 ]; then
  echo "the kit has not found the bug in $test" >&2
  exit 1
fi
echo "$told" | grep -a -E "$words" >&2 || {
  echo "$told"
  echo "the kit has found a bug in $test, but does not say: $words" >&2
  exit 1
}
