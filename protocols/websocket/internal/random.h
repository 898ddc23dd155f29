// Bytes that nobody can predict, from the kernel.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_RANDOM_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_RANDOM_H_

#include <cstddef>

namespace sluice::websocket::internal {

// getrandom(2). Waits while the kernel has not gathered enough entropy since boot, and ends the
// process where the kernel has no such source at all. Thread-safe.
void FillRandom(void* out, size_t size);

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_RANDOM_H_
