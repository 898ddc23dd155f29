// What symbols_test must find fault with: a program that has WebSocket, TLS and compression in it.
// Of the last two, only the names of a function each.

#include <cstdint>

#include "sluice/protocols/websocket/mask.h"

extern "C" {
int SSL_new() { return 0; }
int deflateInit_() { return 0; }
}

int main() {
  uint8_t bytes[64] = {};
  sluice::websocket::ApplyMask(bytes, bytes, sizeof(bytes), 0x01020304);
  return bytes[0] + SSL_new() + deflateInit_();
}
