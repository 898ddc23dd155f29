#!/bin/sh
# That it runs, loses nothing and keeps to the marks, with few subscribers.
#
#   fan_out_smoke_test.sh FAN_OUT

set -eu

"$1" --subscribers=200 --messages=3 --rounds=2
