#!/bin/sh
# A program that depends on //core:tcp alone links no WebSocket, no BoringSSL and no zlib.
#
#   symbols_test.sh RAW_TCP_USER MORE_THAN_TCP

set -eu

fail() {
  echo "FAILED: $*"
  exit 1
}

# Lists the symbols of a program that belong to what it should not have, one for each kind.
unwanted() {
  symbols=$(nm -C "$1" | cut -c18-)
  for kind in '.*sluice::websocket::' '(SSL|EVP|CRYPTO|BIO|X509|OPENSSL)_|bssl::' '(in|de)flate(Init|End)?[0-9]?_*$'; do
    printf '%s\n' "$symbols" | grep -m 1 -E "^[A-Za-z] ($kind)" || true
  done
}

nm -C "$1" | grep -q 'sluice::EventLoop::Run' || fail "$1 has no symbols of sluice: is it stripped, or linked to libraries?"
found=$(unwanted "$1")
[ -z "$found" ] || fail "$1 has $found"

# The same look at a program that has all three.
found=$(unwanted "$2")
[ "$(printf '%s\n' "$found" | wc -l)" = 3 ] || fail "of three unwanted kinds in $2, only these are seen: $found"
