/* An echo server on libevent, of bytes or of frames.
 *
 *   libevent raw|frame
 *
 * Plain events with receives into one shared buffer, rather than bufferevents: those read no more
 * than 4 KiB at a time, after asking the kernel how much there is (FIONREAD).
 */
#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frames.h"
#include "listen.h"

struct connection {
  struct event *reads, *writes;
  struct frames frames;
  uint8_t* unsent;
  size_t unsent_bytes;
};

static uint8_t shared[1 << 18];
static bool is_frame;
static struct event_base* base;

static void end(evutil_socket_t fd, struct connection* c) {
  event_free(c->reads);
  event_free(c->writes);
  close(fd);
  frames_free(&c->frames);
  free(c->unsent);
  free(c);
}

static void put(void* context, const uint8_t* bytes, size_t count) {
  struct connection* c = context;
  ssize_t sent = 0;
  if (c->unsent_bytes == 0) sent = send(event_get_fd(c->reads), bytes, count, MSG_NOSIGNAL);
  if (sent == (ssize_t)count) return;
  if (sent < 0) sent = 0;
  if (c->unsent_bytes == 0) {
    event_del(c->reads);
    event_add(c->writes, NULL);
  }
  c->unsent = realloc(c->unsent, c->unsent_bytes + count - (size_t)sent);
  memcpy(c->unsent + c->unsent_bytes, bytes + sent, count - (size_t)sent);
  c->unsent_bytes += count - (size_t)sent;
}

static void on_writable(evutil_socket_t fd, short what, void* context) {
  (void)what;
  struct connection* c = context;
  const ssize_t sent = send(fd, c->unsent, c->unsent_bytes, MSG_NOSIGNAL);
  if (sent < 0 && errno == EAGAIN) return;
  if (sent < 0) {
    end(fd, c);
    return;
  }
  c->unsent_bytes -= (size_t)sent;
  memmove(c->unsent, c->unsent + sent, c->unsent_bytes);
  if (c->unsent_bytes > 0) return;
  event_del(c->writes);
  event_add(c->reads, NULL);
}

static void on_readable(evutil_socket_t fd, short what, void* context) {
  (void)what;
  struct connection* c = context;
  const ssize_t count = recv(fd, shared, sizeof shared, 0);
  if (count < 0 && errno == EAGAIN) return;
  if (count <= 0)
    end(fd, c);
  else if (is_frame)
    frames_take(&c->frames, shared, (size_t)count, put, c);
  else
    put(c, shared, (size_t)count);
}

static void accept_all(evutil_socket_t listener, short what, void* context) {
  (void)what, (void)context;
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    struct connection* c = calloc(1, sizeof *c);
    c->reads = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writes = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    event_add(c->reads, NULL);
  }
}

int main(int argc, char** argv) {
  is_frame = argc > 1 && strcmp(argv[1], "frame") == 0;
  /* No locks, and changes of interest told to the kernel together. */
  struct event_config* config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
  base = event_base_new_with_config(config);
  const int fd = listen_on_loopback();
  event_add(event_new(base, fd, EV_READ | EV_PERSIST, accept_all, NULL), NULL);
  tell_address(fd);
  return event_base_dispatch(base);
}
