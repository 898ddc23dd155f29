/* What goes over the wire, made once: requests and the answers that are expected are the same bytes
 * again and again, so that the load costs as little as can be, and checks every byte that comes. */
#ifndef SLUICE_TESTS_PEERS_LOAD_WIRE_H_
#define SLUICE_TESTS_PEERS_LOAD_WIRE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum protocol { RAW, FRAME, WEBSOCKET, RESP_SET, RESP_GET };

struct wire {
  enum protocol protocol;
  bool deflate;
  size_t payload_bytes;
  uint8_t* payload;
  uint8_t* requests; /* `copies` requests, one behind the other */
  size_t request_bytes;
  size_t copies;
  uint8_t* answer; /* NULL until it is learnt: what is compressed is for the server to choose */
  size_t answer_bytes;
};

/* Ends the program with a message where there is no memory. */
void wire_make(struct wire* wire, enum protocol protocol, bool deflate, size_t payload_bytes,
               size_t copies);

/* The request of a WebSocket handshake, and whether `answer` (to the empty line) takes it. */
const char* upgrade_request(const struct wire* wire);
bool upgrade_is_accepted(const struct wire* wire, const char* answer);

/* Looks for the first answer in what has come so far; true once it is whole. Ends the program where
 * it is not the message that was sent. */
bool wire_learn(struct wire* wire, const uint8_t* bytes, size_t count);

void die(const char* format, ...) __attribute__((format(printf, 1, 2), noreturn));
void* allocate(size_t count);

#endif
