#!/usr/bin/env bash
# tool_test.sh TOOL: its server echoes what its client sends.

set -eu
tool=$1

exec 3< <(exec "$tool" echo --listen=127.0.0.1:0)
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
read -r line <&3
case $line in
  "listening on "*) ;;
  *)
    echo "the server says: $line"
    exit 1
    ;;
esac
said=$(printf 'hello\n\nworld\n' | "$tool" cat "cobs://${line##* }")
[ "$said" = $'hello\n\nworld' ] || {
  echo "the client says: $said"
  exit 1
}
kill -TERM "$server"
read -r totals <&3
[[ $totals == *"messages=3 "* ]] || {
  echo "the server ends with: $totals"
  exit 1
}
"$tool" codecs | grep -q '^cobs: messages that end with a 0' || {
  "$tool" codecs
  exit 1
}
