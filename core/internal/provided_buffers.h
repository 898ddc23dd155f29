// ProvidedBuffers is the pool that io_uring receives into: buffers of one size, side by side in one
// Block, of which the kernel picks the next when bytes have arrived, and which are given back when
// the bytes were handled. So an idle connection has no buffer, and all connections together never
// more than the pool. When it has run dry, a receive ends with ENOBUFS.
//
// Buffers that are picked one after another usually lie side by side, and what fills them is then
// one piece of memory.
//
// Example:
//   ProvidedBuffers buffers({.count = 64, .bytes = 16 * 1024});
//   buffers.Register(ring);
//   // a completion names buffer `id` and `n` bytes:
//   buffers.Take(id);
//   Handle({buffers.data(id), n});
//   buffers.Give(id);
//   buffers.Publish();
//
// Loop-bound. Source: io_uring_register(2), IORING_REGISTER_PBUF_RING.
#ifndef SLUICE_CORE_INTERNAL_PROVIDED_BUFFERS_H_
#define SLUICE_CORE_INTERNAL_PROVIDED_BUFFERS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/io_uring_ring.h"

namespace sluice::internal {

class ProvidedBuffers {
 public:
  struct Sizes {
    uint16_t count;  // a power of two, at most 32,768
    uint32_t bytes;  // of each
  };

  explicit ProvidedBuffers(const Sizes& sizes);

  // Gives all buffers that are not taken to the kernel. With a second ring, after the first has
  // gone, again. Errors: as IoUringRing::RegisterBuffers.
  absl::Status Register(IoUringRing& ring);

  // The kernel has filled a buffer: it is ours until Give.
  void Take(uint16_t id) {
    taken_[id] = true;
    --available_;
  }

  // The kernel sees what was given back at Publish.
  void Give(uint16_t id);
  void Publish() { __atomic_store_n(&entries_->tail, tail_, __ATOMIC_RELEASE); }

  // How many the kernel may still pick.
  size_t available() const { return available_; }
  uint8_t* data(uint16_t id) const { return block_->storage() + id * size_t{sizes_.bytes}; }
  const Sizes& sizes() const { return sizes_; }
  Block& block() const { return *block_; }

 private:
  Sizes sizes_;
  BlockPtr block_;
  Mapping memory_;
  io_uring_buf_ring* entries_ = nullptr;
  std::vector<bool> taken_;
  size_t available_ = 0;
  uint16_t tail_ = 0;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_PROVIDED_BUFFERS_H_
