/* floor: the least that an echo server on epoll can do, as a measure for real ones. No limits, no
 * timeouts, no control frames, no errors that are told. Level-triggered; one receive and one send
 * for what has come; a send that is short keeps the rest, and nothing is read from that connection
 * before it has left.
 *
 *   floor raw|frame|websocket [--broadcast]
 *
 * Frames and WebSocket messages are passed on as they come, by counting: nothing waits for the end
 * of a message, but with --broadcast (WebSocket), which sends each to all connections.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "listen.h"
#include "websocket_accept.h"

struct connection {
  int fd;
  bool is_open; /* upgraded */
  uint8_t header_bytes;
  uint8_t header[14];
  uint8_t mask[4];
  uint64_t left; /* of the message's body */
  uint8_t* kept; /* an unfinished handshake; with --broadcast, an unfinished message */
  size_t kept_bytes, kept_room;
  uint8_t* unsent;
  size_t unsent_bytes, unsent_room;
  size_t place; /* in `all` */
};

/* What comes is received behind room for a header: an answer begins as far before its message as
 * earlier receives had of that message's header. */
enum { FRONT = 64 };
static uint8_t buffer[FRONT + (1 << 18)];
static int poller;
static bool is_frame, is_websocket, is_broadcast;
static struct connection** all;
static size_t count, room;

static void append(uint8_t** to, size_t* have, size_t* room_there, const uint8_t* bytes, size_t n) {
  if (*have + n > *room_there) {
    *room_there = 2 * (*have + n);
    *to = realloc(*to, *room_there);
  }
  memcpy(*to + *have, bytes, n);
  *have += n;
}

static void watch(struct connection* c, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void put(struct connection* c, const uint8_t* bytes, size_t n) {
  ssize_t sent = 0;
  if (c->unsent_bytes == 0) sent = send(c->fd, bytes, n, MSG_NOSIGNAL);
  if (sent == (ssize_t)n) return;
  if (sent < 0) sent = 0; /* one that is broken is found out by the next receive */
  if (c->unsent_bytes == 0) watch(c, EPOLLOUT);
  append(&c->unsent, &c->unsent_bytes, &c->unsent_room, bytes + sent, n - (size_t)sent);
}

static void put_unsent(struct connection* c) {
  const ssize_t sent = send(c->fd, c->unsent, c->unsent_bytes, MSG_NOSIGNAL);
  if (sent < 0 && errno == EAGAIN) return;
  c->unsent_bytes = sent < 0 ? 0 : c->unsent_bytes - (size_t)sent;
  if (c->unsent_bytes > 0) {
    memmove(c->unsent, c->unsent + sent, c->unsent_bytes);
    return;
  }
  free(c->unsent);
  c->unsent = NULL;
  c->unsent_room = 0;
  watch(c, EPOLLIN);
}

static void end(struct connection* c) {
  all[c->place] = all[--count];
  all[c->place]->place = c->place;
  close(c->fd);
  free(c->kept);
  free(c->unsent);
  free(c);
}

static void begin(int fd) {
  struct connection* c = calloc(1, sizeof *c);
  c->fd = fd;
  c->place = count;
  if (count == room) all = realloc(all, (room = 2 * room + 64) * sizeof *all);
  all[count++] = c;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

/* The header of a frame or message from what has come; how much of that it took. */
static size_t take_header(struct connection* c, const uint8_t* bytes, size_t n) {
  size_t taken = 0;
  for (;;) {
    size_t whole = 4;
    if (is_websocket) {
      const uint8_t length = c->header_bytes < 2 ? 0 : c->header[1] & 0x7f;
      whole = c->header_bytes < 2 ? 2 : length == 127 ? 14 : length == 126 ? 8 : 6;
    }
    while (c->header_bytes < whole && taken < n) c->header[c->header_bytes++] = bytes[taken++];
    if (c->header_bytes < whole) return taken;
    if (whole > 2) return taken;
  }
}

static bool has_header(const struct connection* c) {
  if (!is_websocket) return c->header_bytes == 4;
  const uint8_t length = c->header[1] & 0x7f;
  return c->header_bytes >= (length == 127 ? 14 : length == 126 ? 8 : 6);
}

/* Sets `left`, and makes of the header that of the answer; its length. */
static size_t answer_header(struct connection* c) {
  const size_t size = c->header_bytes - (is_websocket ? 4u : 0u);
  c->left = 0;
  if (is_websocket) memcpy(c->mask, c->header + size, 4);
  const size_t from = is_websocket ? 2 : 0;
  for (size_t i = from; i < size; ++i) c->left = c->left << 8 | c->header[i];
  if (is_websocket) {
    c->header[1] &= 0x7f;
    if (size == 2) c->left = c->header[1];
  }
  c->header_bytes = 0;
  return size;
}

/* To an earlier place, or the same. */
static void unmask(uint8_t* to, const uint8_t* from, size_t n, uint8_t* mask) {
  uint64_t wide;
  memcpy(&wide, mask, 4);
  memcpy((uint8_t*)&wide + 4, mask, 4);
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    uint64_t words[4];
    memcpy(words, from + i, 32);
    for (int k = 0; k < 4; ++k) words[k] ^= wide;
    memcpy(to + i, words, 32);
  }
  for (; i < n; ++i) to[i] = from[i] ^ mask[i % 4];
  const uint8_t turned[4] = {mask[n % 4], mask[(n + 1) % 4], mask[(n + 2) % 4], mask[(n + 3) % 4]};
  memcpy(mask, turned, 4);
}

static void broadcast(struct connection* from) {
  for (size_t i = 0; i < count; ++i)
    if (all[i]->is_open) put(all[i], from->kept, from->kept_bytes);
  from->kept_bytes = 0;
}

/* A piece of an answer. */
static void emit(struct connection* c, const uint8_t* bytes, size_t n) {
  if (is_broadcast) append(&c->kept, &c->kept_bytes, &c->kept_room, bytes, n);
}

/* Answers are made where the messages are, never behind what is yet to be read. */
static void pass_on(struct connection* c, uint8_t* bytes, size_t n) {
  uint8_t *const start = bytes - c->header_bytes, *out = start;
  size_t i = 0;
  while (i < n) {
    if (c->left == 0) {
      i += take_header(c, bytes + i, n - i);
      if (!has_header(c)) break;
      const size_t size = answer_header(c);
      memcpy(out, c->header, size);
      emit(c, out, size);
      out += size;
    }
    const size_t here = c->left < n - i ? c->left : n - i;
    if (is_websocket) unmask(out, bytes + i, here, c->mask);
    emit(c, out, here);
    out += here;
    i += here;
    c->left -= here;
    if (is_broadcast && c->left == 0) broadcast(c);
  }
  if (!is_broadcast && out > start) put(c, start, (size_t)(out - start));
}

static void pass_on_frames(struct connection* c, uint8_t* bytes, size_t n) {
  for (size_t i = 0; i < n;) {
    if (c->left == 0) {
      i += take_header(c, bytes + i, n - i);
      if (!has_header(c)) break;
      answer_header(c);
    }
    const size_t here = c->left < n - i ? c->left : n - i;
    i += here;
    c->left -= here;
  }
  put(c, bytes, n);
}

static bool upgrade(struct connection* c, const uint8_t* bytes, size_t n) {
  append(&c->kept, &c->kept_bytes, &c->kept_room, bytes, n);
  append(&c->kept, &c->kept_bytes, &c->kept_room, (const uint8_t*)"", 1);
  --c->kept_bytes;
  if (!strstr((char*)c->kept, "\r\n\r\n")) return true;
  char answer[256];
  if (!websocket_accept((char*)c->kept, answer, sizeof answer)) return false;
  put(c, (uint8_t*)answer, strlen(answer));
  c->is_open = true;
  free(c->kept);
  c->kept = NULL;
  c->kept_bytes = c->kept_room = 0;
  return true;
}

static void receive(struct connection* c) {
  uint8_t* const bytes = buffer + FRONT;
  const ssize_t n = recv(c->fd, bytes, sizeof buffer - FRONT, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0 || (is_websocket && !c->is_open)) {
    if (n <= 0 || !upgrade(c, bytes, (size_t)n)) end(c);
  } else if (is_websocket) {
    pass_on(c, bytes, (size_t)n);
  } else if (is_frame) {
    pass_on_frames(c, bytes, (size_t)n);
  } else {
    put(c, bytes, (size_t)n);
  }
}

static void on_event(int listener, const struct epoll_event* event) {
  struct connection* c = event->data.ptr;
  if (!c) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
      begin(fd);
  } else if (c->unsent_bytes > 0) {
    put_unsent(c);
  } else {
    receive(c);
  }
}

int main(int argc, char** argv) {
  is_frame = argc > 1 && strcmp(argv[1], "frame") == 0;
  is_websocket = argc > 1 && strcmp(argv[1], "websocket") == 0;
  is_broadcast = argc > 2 && strcmp(argv[2], "--broadcast") == 0;
  const int listener = listen_on_loopback();
  poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  tell_address(listener);
  for (;;) {
    struct epoll_event events[1024];
    const int n = epoll_wait(poller, events, 1024, -1);
    for (int i = 0; i < n; ++i) on_event(listener, &events[i]);
  }
}
