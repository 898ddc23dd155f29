// The implementations behind utf8.h, one a vector unit, for its tests and benchmarks.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_UTF8_KERNELS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_UTF8_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace sluice::websocket::internal {

struct Utf8Kernel {
  const char* name;
  // Whether data[0, size) is valid UTF-8. Beforehand UnfinishedTail(data, size) must be 0.
  bool (*valid)(const uint8_t* data, size_t size);
};

// Those that this processor can run, best first; never empty.
absl::Span<const Utf8Kernel> UsableUtf8Kernels();

// How many bytes at the end, 0 to 3, are a lead byte and fewer continuation bytes than it
// announces. Looks at no more than the last 3 bytes and at nothing but that.
size_t UnfinishedTail(const uint8_t* data, size_t size);

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_UTF8_KERNELS_H_
