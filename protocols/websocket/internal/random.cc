#include "sluice/protocols/websocket/internal/random.h"

#include <stdlib.h>

#if defined(__linux__)
#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>
#endif

namespace sluice::websocket::internal {

#if defined(__linux__)

void FillRandom(void* out, size_t size) {
  char* to = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = getrandom(to, size, 0);
    if (got < 0) {
      // The only other errors are a bad address and a kernel before 3.17; there is nothing to fall
      // back on that would keep the promise.
      if (errno != EINTR) abort();
      continue;
    }
    to += got;
    size -= static_cast<size_t>(got);
  }
}

#else  // the BSDs and macOS

void FillRandom(void* out, size_t size) { arc4random_buf(out, size); }

#endif

}  // namespace sluice::websocket::internal
