#!/bin/sh
# The flags that a report of a failed seed has run that seed and no other.
#
#   one_seed_test.sh EXPLORE

set -eu

out=$("$1" --protocol=framing --first_seed=4711 --seeds=1 --fresh_seeds=0)
case $out in
  *"
"*) ;; # more than one line
  "framing: 1 seeds from 4711 on: "*) exit 0 ;;
esac
echo "FAILED: $out"
exit 1
