/* The answer to a WebSocket handshake, for servers that come without. */
#ifndef SLUICE_TESTS_PEERS_SERVERS_WEBSOCKET_ACCEPT_H_
#define SLUICE_TESTS_PEERS_SERVERS_WEBSOCKET_ACCEPT_H_

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* False where the request has no key. */
static inline bool websocket_accept(const char* request, char* answer, size_t room) {
  const char* key = strcasestr(request, "\r\nSec-WebSocket-Key:");
  if (!key) return false;
  key += strlen("\r\nSec-WebSocket-Key:");
  key += strspn(key, " ");
  char text[64];
  snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  unsigned char digest[20], accept[32];
  SHA1((unsigned char*)text, strlen(text), digest);
  EVP_EncodeBlock(accept, digest, sizeof digest);
  snprintf(answer, room,
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: %s\r\n\r\n",
           accept);
  return true;
}

#endif
