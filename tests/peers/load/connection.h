/* A connection of the load: plain or TLS, with the handshake of WebSocket where there is one, and
 * then requests out and checked answers in. Nothing here blocks but connect, which on loopback
 * takes no time. */
#ifndef SLUICE_TESTS_PEERS_LOAD_CONNECTION_H_
#define SLUICE_TESTS_PEERS_LOAD_CONNECTION_H_

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum state { ENCRYPTING, UPGRADING, OPEN };

struct connection {
  int fd;
  SSL* ssl;
  enum state state;
  bool waits_for_room;
  size_t to_send;    /* bytes of requests */
  size_t send_at;    /* in a request */
  size_t receive_at; /* in an answer */
  size_t head_bytes; /* of the answer to the handshake */
  char head[1024];
  uint64_t* due; /* open loop: when each message was to leave; [answered, asked) are under way */
  size_t asked, answered;
};

struct net {
  int epoll;
  struct sockaddr_in server;
  SSL_CTX* tls; /* NULL: plain */
  struct wire wire;
  bool many_addresses; /* a source address each time, so that ports do not run out */
};

void net_make(struct net* net, const char* address, bool tls);
void connection_open(struct net* net, struct connection* c);
void connection_close(struct connection* c);

/* Queues `count` requests, and sends what goes. */
void connection_ask(struct net* net, struct connection* c, size_t count);

/* After an event. The number of answers that are complete with it; *opened where it now is open. */
size_t connection_advance(struct net* net, struct connection* c, bool* opened);

#endif
