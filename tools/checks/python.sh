#!/bin/sh
# Runs a Python file as a test; a py_test would need rules_python on one of the two roads.
exec python3 "$@"
