#!/bin/sh
# Runs a Python file as a test, with Debian's Python: python3-websockets is installed for that one.
exec /usr/bin/python3 -B "$@"
