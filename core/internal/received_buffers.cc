#include "sluice/core/internal/received_buffers.h"

#include <algorithm>
#include <cstring>

namespace sluice::internal {

size_t ReceivedBuffers::BytesIn(const List& list) const {
  size_t size = 0;
  for (uint16_t i = list.first_; i != kNone; i = received_[i].next) size += received_[i].size;
  return size;
}

size_t ReceivedBuffers::Copy(List& list, absl::Span<uint8_t> space) {
  size_t copied = 0;
  while (copied < space.size() && !list.empty()) {
    Received& received = received_[list.first_];
    const size_t n = std::min<size_t>(space.size() - copied, received.size);
    std::memcpy(space.data() + copied, pool_.data(list.first_) + received.offset, n);
    copied += n;
    received.offset += static_cast<uint32_t>(n);
    received.size -= static_cast<uint32_t>(n);
    if (received.size == 0) GiveFirst(list);
  }
  return copied;
}

void ReceivedBuffers::Drop(List& list) {
  while (!list.empty()) GiveFirst(list);
}

}  // namespace sluice::internal
