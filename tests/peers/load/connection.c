#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The same for every server: TLS 1.3, AES-128-GCM, X25519. */
static SSL_CTX* make_tls(void) {
  SSL_CTX* tls = SSL_CTX_new(TLS_client_method());
  if (!tls || !SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) ||
      !SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256") ||
      !SSL_CTX_set1_groups_list(tls, "X25519"))
    die("TLS cannot be set up");
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return tls;
}

void net_make(struct net* net, const char* address, bool tls) {
  char host[64];
  const char* colon = strrchr(address, ':');
  if (!colon || (size_t)(colon - address) >= sizeof host)
    die("--address=%s: not ADDRESS:PORT", address);
  memcpy(host, address, (size_t)(colon - address));
  host[colon - address] = 0;
  net->server.sin_family = AF_INET;
  net->server.sin_port = htons((uint16_t)atoi(colon + 1));
  if (inet_pton(AF_INET, host, &net->server.sin_addr) != 1)
    die("--address=%s: not an IPv4 address", address);
  net->epoll = epoll_create1(EPOLL_CLOEXEC);
  net->tls = tls ? make_tls() : NULL;
}

static void bind_to_another_address(int fd) {
  static uint32_t count;
  const int on = 1;
  struct sockaddr_in source = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(0x7f010001 + count++ % 60000)};
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr*)&source, sizeof source) != 0) die("bind: %s", strerror(errno));
}

static void watch(struct net* net, struct connection* c, int operation) {
  struct epoll_event event = {.events = EPOLLIN | (c->waits_for_room ? EPOLLOUT : 0u),
                              .data.ptr = c};
  if (epoll_ctl(net->epoll, operation, c->fd, &event) != 0) die("epoll_ctl: %s", strerror(errno));
}

void connection_open(struct net* net, struct connection* c) {
  uint64_t* due = c->due;
  memset(c, 0, sizeof *c);
  c->due = due;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0) die("socket: %s", strerror(errno));
  if (net->many_addresses) bind_to_another_address(c->fd);
  if (connect(c->fd, (struct sockaddr*)&net->server, sizeof net->server) != 0)
    die("connect: %s", strerror(errno));
  const int on = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  c->state = net->tls ? ENCRYPTING : net->wire.protocol == WEBSOCKET ? UPGRADING : OPEN;
  if (net->tls) {
    c->ssl = SSL_new(net->tls);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
  }
  /* Each begins by being writable. */
  c->waits_for_room = true;
  watch(net, c, EPOLL_CTL_ADD);
}

void connection_close(struct connection* c) {
  SSL_free(c->ssl);
  close(c->fd);
  c->ssl = NULL;
  c->fd = -1;
}

/* As send and recv, with -1 for "not now". */
static ssize_t put(struct connection* c, const void* bytes, size_t count) {
  if (!c->ssl) {
    const ssize_t sent = send(c->fd, bytes, count, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) die("send: %s", strerror(errno));
    return sent;
  }
  ERR_clear_error();
  const int sent = SSL_write(c->ssl, bytes, (int)count);
  if (sent <= 0 && SSL_get_error(c->ssl, sent) != SSL_ERROR_WANT_WRITE)
    die("SSL_write: %s", strerror(errno));
  return sent > 0 ? sent : -1;
}

static ssize_t get(struct connection* c, void* bytes, size_t count) {
  ssize_t received;
  if (c->ssl) {
    ERR_clear_error();
    received = SSL_read(c->ssl, bytes, (int)count);
    if (received <= 0 && SSL_get_error(c->ssl, (int)received) == SSL_ERROR_WANT_READ) return -1;
  } else {
    received = recv(c->fd, bytes, count, 0);
    if (received < 0 && errno == EAGAIN) return -1;
  }
  if (received <= 0)
    die("the server has ended a connection%s%s", received ? ": " : "",
        received ? strerror(errno) : "");
  return received;
}

static void flush(struct net* net, struct connection* c) {
  const struct wire* wire = &net->wire;
  while (c->to_send > 0) {
    const size_t here = wire->copies * wire->request_bytes - c->send_at;
    const ssize_t sent = put(c, wire->requests + c->send_at, c->to_send < here ? c->to_send : here);
    if (sent < 0) break;
    c->to_send -= (size_t)sent;
    c->send_at = (c->send_at + (size_t)sent) % wire->request_bytes;
  }
  if (c->waits_for_room != (c->to_send > 0)) {
    c->waits_for_room = !c->waits_for_room;
    watch(net, c, EPOLL_CTL_MOD);
  }
}

void connection_ask(struct net* net, struct connection* c, size_t count) {
  c->asked += count;
  c->to_send += count * net->wire.request_bytes;
  if (!c->waits_for_room) flush(net, c);
}

static bool encrypt(struct connection* c) {
  ERR_clear_error();
  const int done = SSL_do_handshake(c->ssl);
  if (done == 1) return true;
  if (SSL_get_error(c->ssl, done) != SSL_ERROR_WANT_READ) {
    ERR_print_errors_fp(stderr);
    die("the TLS handshake failed");
  }
  return false;
}

/* True once the server has agreed. */
static bool upgrade(struct net* net, struct connection* c) {
  const ssize_t count = get(c, c->head + c->head_bytes, sizeof c->head - 1 - c->head_bytes);
  if (count < 0) return false;
  c->head_bytes += (size_t)count;
  const char* end = strstr(c->head, "\r\n\r\n");
  if (!end && c->head_bytes < sizeof c->head - 1) return false;
  if (!end || end + 4 != c->head + c->head_bytes || !upgrade_is_accepted(&net->wire, c->head))
    die("the handshake was answered with:\n%s", c->head);
  return true;
}

/* The steps to an open connection; false where one of them waits. */
static bool become_open(struct net* net, struct connection* c) {
  const bool begins = c->waits_for_room;
  if (begins) {
    c->waits_for_room = false;
    watch(net, c, EPOLL_CTL_MOD);
  }
  bool ask = begins;
  if (c->state == ENCRYPTING) {
    if (!encrypt(c)) return false;
    c->state = net->wire.protocol == WEBSOCKET ? UPGRADING : OPEN;
    ask = true;
  }
  if (c->state == UPGRADING) {
    const char* request = upgrade_request(&net->wire);
    if (ask && put(c, request, strlen(request)) != (ssize_t)strlen(request))
      die("no room for a handshake");
    if (ask || !upgrade(net, c)) return false;
    c->state = OPEN;
  }
  return true;
}

static size_t check(struct net* net, struct connection* c, const uint8_t* bytes, size_t count) {
  static uint8_t first[1 << 21];
  static size_t first_bytes;
  struct wire* wire = &net->wire;
  if (!wire->answer) {
    if (first_bytes + count > sizeof first) die("the first answer is too long");
    memcpy(first + first_bytes, bytes, count);
    first_bytes += count;
    return wire_learn(wire, first, first_bytes) ? 1 : 0;
  }
  size_t answers = 0;
  while (count > 0) {
    size_t here = wire->answer_bytes - c->receive_at;
    if (here > count) here = count;
    if (memcmp(wire->answer + c->receive_at, bytes, here) != 0)
      die("a wrong answer, in the %zu bytes from byte %zu of message %zu", here, c->receive_at,
          c->answered + answers);
    bytes += here;
    count -= here;
    c->receive_at += here;
    if (c->receive_at == wire->answer_bytes) {
      c->receive_at = 0;
      ++answers;
    }
  }
  return answers;
}

size_t connection_advance(struct net* net, struct connection* c, bool* opened) {
  static uint8_t buffer[1 << 18];
  *opened = false;
  if (c->state != OPEN || (c->waits_for_room && c->to_send == 0)) {
    *opened = become_open(net, c);
    return 0;
  }
  if (c->waits_for_room) flush(net, c);
  size_t answers = 0;
  ssize_t count;
  do {
    count = get(c, buffer, sizeof buffer);
    if (count > 0) answers += check(net, c, buffer, (size_t)count);
  } while (count > 0 && (c->ssl || count == sizeof buffer));
  c->answered += answers;
  return answers;
}
