// The implementations behind mask.h, one a vector unit, for its tests and benchmarks.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_MASK_KERNELS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_MASK_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace sluice::websocket::internal {

// Both take any n >= 16 and ranges as ApplyMask takes them.
struct MaskKernel {
  const char* name;
  void (*mask)(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key);
  bool (*mask_testing_ascii)(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key);
};

// Those that this processor can run, best first; never empty.
absl::Span<const MaskKernel> UsableMaskKernels();

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_MASK_KERNELS_H_
