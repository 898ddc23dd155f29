/* Messages behind a length of four bytes, big-endian, for servers in C that come without: of what
 * was received the whole messages are answered together, with one write; the unfinished one is
 * kept. */
#ifndef SLUICE_TESTS_PEERS_SERVERS_FRAMES_H_
#define SLUICE_TESTS_PEERS_SERVERS_FRAMES_H_

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct frames {
  uint8_t* kept; /* the beginning of a message; NULL for none */
  size_t kept_bytes, kept_room;
};

typedef void frames_put(void* context, const uint8_t* bytes, size_t count);

/* The length of the message that begins here; 4 where that is not known yet. */
static inline size_t frames_length(const uint8_t* bytes, size_t count) {
  if (count < 4) return 4;
  return 4 + ((size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3]);
}

static inline void frames_keep(struct frames* frames, const uint8_t* bytes, size_t count,
                               size_t length) {
  if (length > frames->kept_room) {
    frames->kept = (uint8_t*)realloc(frames->kept, length);
    frames->kept_room = length;
  }
  memcpy(frames->kept + frames->kept_bytes, bytes, count);
  frames->kept_bytes += count;
}

static inline void frames_free(struct frames* frames) {
  free(frames->kept);
  memset(frames, 0, sizeof *frames);
}

static inline void frames_take(struct frames* frames, const uint8_t* bytes, size_t count,
                               frames_put* put, void* context) {
  while (frames->kept_bytes > 0 && count > 0) {
    const size_t length = frames_length(frames->kept, frames->kept_bytes);
    const size_t missing = length - frames->kept_bytes, here = missing < count ? missing : count;
    frames_keep(frames, bytes, here, length);
    bytes += here;
    count -= here;
    if (frames->kept_bytes < 4 ||
        frames_length(frames->kept, frames->kept_bytes) > frames->kept_bytes)
      continue;
    put(context, frames->kept, frames->kept_bytes);
    frames_free(frames);
  }
  size_t whole = 0;
  while (count - whole >= 4 && frames_length(bytes + whole, count - whole) <= count - whole)
    whole += frames_length(bytes + whole, count - whole);
  if (whole > 0) put(context, bytes, whole);
  if (whole < count)
    frames_keep(frames, bytes + whole, count - whole, frames_length(bytes + whole, count - whole));
}

#endif
