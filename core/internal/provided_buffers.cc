#include "sluice/core/internal/provided_buffers.h"

#include <cerrno>
#include <cstring>

#include "sluice/core/internal/system_error.h"

namespace sluice::internal {

ProvidedBuffers::ProvidedBuffers(const Sizes& sizes)
    : sizes_(sizes),
      block_(Block::NewExact(sizes.count * size_t{sizes.bytes})),
      taken_(sizes.count, false) {}

absl::Status ProvidedBuffers::Register(IoUringRing& ring) {
  const size_t bytes = sizes_.count * sizeof(io_uring_buf);
  if (entries_ == nullptr) {
    if (!memory_.Map(bytes, -1, 0)) return SystemError(errno, "mmap", "io_uring");
    entries_ = reinterpret_cast<io_uring_buf_ring*>(memory_.data());
  }
  // Until then they are those of another ring, which stays where this fails.
  absl::Status status = ring.RegisterBuffers(entries_, sizes_.count);
  if (!status.ok()) return status;
  std::memset(static_cast<void*>(entries_), 0, bytes);
  tail_ = 0;
  available_ = 0;
  for (uint16_t id = 0; id < sizes_.count; ++id) {
    if (!taken_[id]) Give(id);
  }
  Publish();
  return absl::OkStatus();
}

void ProvidedBuffers::Give(uint16_t id) {
  taken_[id] = false;
  ++available_;
  // Field by field: the queue's tail lies in the last field of the first entry.
  io_uring_buf* const entry =
      reinterpret_cast<io_uring_buf*>(entries_) + (tail_ & (sizes_.count - 1));
  entry->addr = reinterpret_cast<uint64_t>(data(id));
  entry->len = sizes_.bytes;
  entry->bid = id;
  ++tail_;
}

}  // namespace sluice::internal
