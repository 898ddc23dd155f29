/* An echo server on libuv, of bytes or of frames.
 *
 *   libuv raw|frame
 *
 * Reads go into one buffer that all connections share, which is what alloc_cb is for: what has come
 * is answered before the next read. Writes are tried at once (uv_try_write), and only what does not
 * go is queued, in memory of its own.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "frames.h"
#include "listen.h"

struct connection {
  uv_tcp_t tcp;
  struct frames frames;
};

struct queued {
  uv_write_t write;
  uv_stream_t* paused;
  char bytes[];
};

static char shared[1 << 18];
static bool is_frame;

static void lend(uv_handle_t* handle, size_t suggested, uv_buf_t* buffer) {
  (void)handle, (void)suggested;
  *buffer = uv_buf_init(shared, sizeof shared);
}

static void on_closed(uv_handle_t* handle) {
  struct connection* c = (struct connection*)handle;
  frames_free(&c->frames);
  free(c);
}

static void receive(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer);

static void on_written(uv_write_t* write, int status) {
  struct queued* queued = (struct queued*)write;
  if (status == 0) uv_read_start(queued->paused, lend, receive);
  free(queued);
}

static void put(void* context, const uint8_t* bytes, size_t count) {
  uv_stream_t* stream = context;
  uv_buf_t buffer = uv_buf_init((char*)bytes, (unsigned)count);
  int sent = uv_try_write(stream, &buffer, 1);
  if (sent == (int)count) return;
  if (sent < 0) sent = 0;
  struct queued* queued = malloc(sizeof *queued + count - (size_t)sent);
  queued->paused = stream;
  memcpy(queued->bytes, bytes + sent, count - (size_t)sent);
  buffer = uv_buf_init(queued->bytes, (unsigned)(count - (size_t)sent));
  uv_read_stop(stream);
  uv_write(&queued->write, stream, &buffer, 1, on_written);
}

static void receive(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
  if (count < 0) {
    uv_close((uv_handle_t*)stream, on_closed);
  } else if (count > 0 && is_frame) {
    frames_take(&((struct connection*)stream)->frames, (uint8_t*)buffer->base, (size_t)count, put,
                stream);
  } else if (count > 0) {
    put(stream, (uint8_t*)buffer->base, (size_t)count);
  }
}

static void accept_one(uv_stream_t* listener, int status) {
  if (status < 0) return;
  struct connection* c = calloc(1, sizeof *c);
  uv_tcp_init(listener->loop, &c->tcp);
  uv_accept(listener, (uv_stream_t*)&c->tcp);
  uv_read_start((uv_stream_t*)&c->tcp, lend, receive);
}

int main(int argc, char** argv) {
  is_frame = argc > 1 && strcmp(argv[1], "frame") == 0;
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener;
  uv_tcp_init(loop, &listener);
  const int fd = listen_on_loopback();
  uv_tcp_open(&listener, fd);
  uv_listen((uv_stream_t*)&listener, 4096, accept_one);
  tell_address(fd);
  return uv_run(loop, UV_RUN_DEFAULT);
}
