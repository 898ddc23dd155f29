/* A WebSocket server on libwebsockets.
 *
 *   libwebsockets websocket [--tls=CHAIN,KEY | --deflate | --broadcast]
 *
 * It may write once each time it is told that a connection is writable, so messages are queued for
 * each connection. A broadcast is kept once, and counted. Receive buffers hold the longest message
 * of the comparison.
 */
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct message {
  size_t users, count, room;
  bool is_text;
  unsigned char bytes[]; /* LWS_PRE, then the message */
};

struct session {
  struct lws* wsi;
  struct session* next; /* of all */
  struct message *receiving, *written;
  struct message** queue; /* from `first` on */
  size_t first, queued, room;
};

static struct session* all;
static bool is_broadcast, is_deflate;

static void release(struct message* message) {
  if (message && --message->users == 0) free(message);
}

static void enqueue(struct session* session, struct message* message) {
  if (session->first > 0 && session->queued == session->room) {
    memmove(session->queue, session->queue + session->first,
            (session->queued - session->first) * sizeof *session->queue);
    session->queued -= session->first;
    session->first = 0;
  }
  if (session->queued == session->room) {
    session->room = 2 * session->room + 16;
    session->queue = realloc(session->queue, session->room * sizeof *session->queue);
  }
  ++message->users;
  session->queue[session->queued++] = message;
  lws_callback_on_writable(session->wsi);
}

static void take(struct session* session, const void* bytes, size_t count) {
  struct message* message = session->receiving;
  if (!message || message->count + count > message->room) {
    const size_t have = message ? message->count : 0,
                 room = have + count + lws_remaining_packet_payload(session->wsi);
    struct message* larger = realloc(message, sizeof *larger + LWS_PRE + room);
    if (!message) memset(larger, 0, sizeof *larger);
    session->receiving = message = larger;
    message->room = room;
  }
  memcpy(message->bytes + LWS_PRE + message->count, bytes, count);
  message->count += count;
  if (lws_remaining_packet_payload(session->wsi) > 0 || !lws_is_final_fragment(session->wsi))
    return;
  message->is_text = !lws_frame_is_binary(session->wsi);
  message->users = 1;
  session->receiving = NULL;
  if (is_broadcast)
    for (struct session* to = all; to; to = to->next) enqueue(to, message);
  else
    enqueue(session, message);
  release(message);
}

/* The header goes in front of the message, into the room that is kept for it; each connection
 * writes the same. What is compressed is still read after lws_write, until it may write again. */
static int write_one(struct session* session) {
  release(session->written);
  session->written = NULL;
  if (session->first == session->queued) return 0;
  struct message* message = session->queue[session->first++];
  const int sent = lws_write(session->wsi, message->bytes + LWS_PRE, message->count,
                             message->is_text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY);
  const bool is_sent = sent >= (int)message->count;
  if (is_deflate)
    session->written = message;
  else
    release(message);
  if (session->first == session->queued)
    session->first = session->queued = 0;
  else
    lws_callback_on_writable(session->wsi);
  return is_sent ? 0 : -1;
}

static void end(struct session* session) {
  struct session** link = &all;
  while (*link && *link != session) link = &(*link)->next;
  if (*link) *link = session->next;
  while (session->first < session->queued) release(session->queue[session->first++]);
  release(session->written);
  free(session->queue);
  free(session->receiving);
}

static int on_event(struct lws* wsi, enum lws_callback_reasons reason, void* user, void* bytes,
                    size_t count) {
  struct session* session = user;
  switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
      memset(session, 0, sizeof *session);
      session->wsi = wsi;
      lws_set_extension_option(wsi, "permessage-deflate", "compression_level", "1");
      lws_set_extension_option(wsi, "permessage-deflate", "rx_buf_size", "16");
      lws_set_extension_option(wsi, "permessage-deflate", "tx_buf_size", "16");
      session->next = all;
      all = session;
      return 0;
    case LWS_CALLBACK_RECEIVE:
      take(session, bytes, count);
      return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
      return write_one(session);
    case LWS_CALLBACK_CLOSED:
      end(session);
      return 0;
    default:
      return lws_callback_http_dummy(wsi, reason, user, bytes, count);
  }
}

int main(int argc, char** argv) {
  static const struct lws_protocols kProtocols[] = {
      {"echo", on_event, sizeof(struct session), 1 << 16, 0, NULL, 0}, {0}};
  static const struct lws_extension kExtensions[] = {
      {"permessage-deflate", lws_extension_callback_pm_deflate,
       "permessage-deflate; server_no_context_takeover"},
      {0}};
  const char* option = argc > 2 ? argv[2] : "";
  is_broadcast = strcmp(option, "--broadcast") == 0;
  lws_set_log_level(LLL_ERR, NULL);
  struct lws_context_creation_info info = {.port = 0,
                                           .iface = "127.0.0.1",
                                           .protocols = kProtocols,
                                           .gid = -1,
                                           .uid = -1,
                                           .pt_serv_buf_size = 1 << 16};
  is_deflate = strcmp(option, "--deflate") == 0;
  if (is_deflate) info.extensions = kExtensions;
  char* key = strchr(option, ',');
  if (key) {
    *key++ = 0;
    info.ssl_cert_filepath = option + strlen("--tls=");
    info.ssl_private_key_filepath = key;
    info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
  }
  info.options |= LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
  struct lws_context* context = lws_create_context(&info);
  struct lws_vhost* vhost = context ? lws_create_vhost(context, &info) : NULL;
  if (!vhost) return 1;
  printf("listening on 127.0.0.1:%d\n", lws_get_vhost_listen_port(vhost));
  fflush(stdout);
  while (lws_service(context, 0) >= 0) {
  }
  return 0;
}
