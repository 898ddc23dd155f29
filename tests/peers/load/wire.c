#include "wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static const uint8_t kMask[4] = {0x37, 0xfa, 0x21, 0x3d};

void die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

void* allocate(size_t count) {
  void* memory = calloc(1, count ? count : 1);
  if (!memory) die("out of memory");
  return memory;
}

/* Random bytes; with deflate records as in JSON, which become less than half; for RESP the letter
 * x. */
static uint8_t* make_payload(size_t count, bool text, bool letters) {
  uint8_t* payload = allocate(count + 128);
  if (letters) return memset(payload, 'x', count);
  uint32_t random = 1;
  for (size_t i = 0; i < count;) {
    random = random * 1664525 + 1013904223;
    if (text)
      i += (size_t)sprintf((char*)payload + i,
                           "{\"id\":%u,\"name\":\"client-%u\",\"price\":%u.%02u},", random >> 12,
                           random >> 25, random >> 20 & 0xfff, random % 100);
    else
      payload[i++] = (uint8_t)(random >> 24);
  }
  return payload;
}

static size_t deflate_message(uint8_t* out, size_t room, const uint8_t* bytes, size_t count) {
  z_stream stream = {0};
  deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = (uint8_t*)bytes;
  stream.avail_in = (unsigned)count;
  stream.next_out = out;
  stream.avail_out = (unsigned)room;
  deflate(&stream, Z_SYNC_FLUSH);
  const size_t made = room - stream.avail_out - 4; /* without the 00 00 ff ff */
  deflateEnd(&stream);
  return made;
}

static size_t websocket_header(uint8_t* out, uint8_t first, uint8_t mask_bit, size_t count) {
  out[0] = first;
  if (count < 126) {
    out[1] = mask_bit | (uint8_t)count;
    return 2;
  }
  const unsigned length_bytes = count < 65536 ? 2 : 8;
  out[1] = mask_bit | (count < 65536 ? 126 : 127);
  for (unsigned i = 0; i < length_bytes; ++i)
    out[2 + i] = (uint8_t)((uint64_t)count >> (8 * (length_bytes - 1 - i)));
  return 2 + length_bytes;
}

/* One message as this side sends it (masked), or as the server does. */
static size_t encode(const struct wire* wire, bool of_client, const uint8_t* bytes, size_t count,
                     uint8_t* out) {
  size_t header = 0;
  if (wire->protocol == FRAME) {
    for (unsigned i = 0; i < 4; ++i) out[i] = (uint8_t)(count >> (24 - 8 * i));
    header = 4;
  } else if (wire->protocol == WEBSOCKET) {
    header = websocket_header(out, wire->deflate ? 0xc1 : 0x82, of_client ? 0x80 : 0, count);
    if (of_client) {
      memcpy(out + header, kMask, 4);
      header += 4;
    }
  }
  memcpy(out + header, bytes, count);
  if (wire->protocol == WEBSOCKET && of_client)
    for (size_t i = 0; i < count; ++i) out[header + i] ^= kMask[i % 4];
  return header + count;
}

/* The value of the key `it`, to which a value of this size has been set for GET. */
static void make_resp(struct wire* wire) {
  const size_t count = wire->payload_bytes;
  char *request = allocate(count + 64), *value = allocate(count + 32);
  const int header = sprintf(value, "$%zu\r\n", count);
  memcpy(value + header, wire->payload, count);
  memcpy(value + header + count, "\r\n", 2);
  const size_t value_bytes = (size_t)header + count + 2;
  const bool is_set = wire->protocol == RESP_SET;
  const char* command =
      is_set ? "*3\r\n$3\r\nSET\r\n$2\r\nit\r\n" : "*2\r\n$3\r\nGET\r\n$2\r\nit\r\n";
  wire->request_bytes = strlen(command);
  memcpy(request, command, wire->request_bytes);
  if (is_set) {
    memcpy(request + wire->request_bytes, value, value_bytes);
    wire->request_bytes += value_bytes;
  }
  wire->requests = (uint8_t*)request;
  wire->answer = (uint8_t*)(is_set ? "+OK\r\n" : value);
  wire->answer_bytes = is_set ? 5 : value_bytes;
}

static void make_message(struct wire* wire) {
  const uint8_t* body = wire->payload;
  size_t body_bytes = wire->payload_bytes;
  if (wire->deflate) {
    uint8_t* compressed = allocate(body_bytes + 1024);
    body_bytes = deflate_message(compressed, body_bytes + 1024, wire->payload, body_bytes);
    body = compressed;
  }
  wire->requests = allocate(body_bytes + 14);
  wire->request_bytes = encode(wire, true, body, body_bytes, wire->requests);
  if (wire->deflate) return;
  wire->answer = allocate(body_bytes + 14);
  wire->answer_bytes = encode(wire, false, body, body_bytes, wire->answer);
}

void wire_make(struct wire* wire, enum protocol protocol, bool deflate, size_t payload_bytes,
               size_t copies) {
  const bool is_resp = protocol == RESP_SET || protocol == RESP_GET;
  wire->protocol = protocol;
  wire->deflate = deflate;
  wire->payload_bytes = payload_bytes;
  wire->payload = make_payload(payload_bytes, deflate, is_resp);
  wire->copies = copies;
  if (is_resp)
    make_resp(wire);
  else
    make_message(wire);
  uint8_t* many = allocate(copies * wire->request_bytes);
  for (size_t i = 0; i < copies; ++i)
    memcpy(many + i * wire->request_bytes, wire->requests, wire->request_bytes);
  free(wire->requests);
  wire->requests = many;
}

const char* upgrade_request(const struct wire* wire) {
  return wire->deflate
             ? "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: " KEY
               "\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
               "client_no_context_takeover\r\n\r\n"
             : "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n";
}

bool upgrade_is_accepted(const struct wire* wire, const char* answer) {
  return strncmp(answer, "HTTP/1.1 101", 12) == 0 && strstr(answer, ACCEPT) &&
         (strstr(answer, "permessage-deflate") != NULL) == wire->deflate &&
         (!wire->deflate || strstr(answer, "server_no_context_takeover"));
}

/* The length of the frame that begins here, and where its body begins; 0 where it is not whole. */
static size_t frame_length(const uint8_t* bytes, size_t count, size_t* header) {
  if (count < 2) return 0;
  const size_t length_bytes = bytes[1] == 126 ? 2 : bytes[1] == 127 ? 8 : 0;
  *header = 2 + length_bytes;
  if (count < *header) return 0;
  size_t body = length_bytes ? 0 : bytes[1];
  for (size_t i = 0; i < length_bytes; ++i) body = body << 8 | bytes[2 + i];
  return count < *header + body ? 0 : *header + body;
}

static void check_compressed(const struct wire* wire, uint8_t* compressed, size_t count) {
  uint8_t* text = allocate(wire->payload_bytes + 1);
  z_stream stream = {0};
  inflateInit2(&stream, -15);
  stream.next_in = compressed;
  stream.avail_in = (unsigned)count;
  stream.next_out = text;
  stream.avail_out = (unsigned)wire->payload_bytes + 1;
  inflate(&stream, Z_SYNC_FLUSH);
  if (stream.avail_out != 1 || memcmp(text, wire->payload, wire->payload_bytes) != 0)
    die("the first compressed answer is not what was sent");
  inflateEnd(&stream);
  free(text);
}

bool wire_learn(struct wire* wire, const uint8_t* bytes, size_t count) {
  uint8_t* compressed = allocate(count + 4);
  size_t compressed_bytes = 0, at = 0;
  for (bool is_last = false; !is_last;) {
    size_t header = 0;
    const size_t frame = frame_length(bytes + at, count - at, &header);
    if (frame == 0) {
      free(compressed);
      return false;
    }
    if ((bytes[at] & 0x7f) != (at == 0 ? 0x41 : 0))
      die("the first answer is no compressed text: its frame at %zu begins with 0x%02x", at,
          bytes[at]);
    memcpy(compressed + compressed_bytes, bytes + at + header, frame - header);
    compressed_bytes += frame - header;
    is_last = bytes[at] & 0x80;
    at += frame;
  }
  memcpy(compressed + compressed_bytes, "\0\0\xff\xff", 4);
  check_compressed(wire, compressed, compressed_bytes + 4);
  free(compressed);
  wire->answer_bytes = at;
  wire->answer = allocate(at);
  memcpy(wire->answer, bytes, at);
  return true;
}
