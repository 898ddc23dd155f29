#!/bin/sh
# That it runs, with a short round of each server that every kernel has.
#
#   udp_echo_smoke_test.sh UDP_ECHO

set -eu

"$1" --rounds=1 --seconds=0.1 --peers=4 --servers=bare,sluice,sluice_plain
