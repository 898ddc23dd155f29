// ReceivedBuffers are those of a pool (provided_buffers.h) that the kernel has filled and whose
// bytes are still to be delivered: a list for each socket, which costs the socket four bytes. What
// has been delivered goes back to the pool.
//
// Example:
//   ReceivedBuffers received(pool);
//   ReceivedBuffers::List list;
//   // a completion names `buffer` and `n` bytes:
//   pool.Take(buffer);
//   received.Append(list, buffer, n);
//   // in the turn, without a copy:
//   const ReceivedBuffers::Run run = received.TakeRun(list);
//   Handle(run.bytes);
//   received.Give(run);
//
// Loop-bound. A list is to be empty before its socket goes: Drop.
#ifndef SLUICE_CORE_INTERNAL_RECEIVED_BUFFERS_H_
#define SLUICE_CORE_INTERNAL_RECEIVED_BUFFERS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/types/span.h"
#include "sluice/core/internal/provided_buffers.h"

namespace sluice::internal {

class ReceivedBuffers {
  static constexpr uint16_t kNone = UINT16_MAX;

 public:
  // In the order in which they were filled.
  class List {
   public:
    bool empty() const { return first_ == kNone; }

   private:
    friend class ReceivedBuffers;
    uint16_t first_ = kNone;
    uint16_t last_ = kNone;
  };

  // Bytes in one piece, and the buffers that they lie in.
  struct Run {
    absl::Span<uint8_t> bytes;
    uint16_t first;
    uint16_t end;
  };

  // `pool` must outlive it.
  explicit ReceivedBuffers(ProvidedBuffers& pool) : pool_(pool), received_(pool.sizes().count) {}

  // `buffer` was taken from the pool, and holds `size` bytes, at least one.
  void Append(List& list, uint16_t buffer, uint32_t size) {
    received_[buffer] = {0, size, kNone};
    if (ABSL_PREDICT_TRUE(list.empty())) {
      list.first_ = buffer;
    } else {
      received_[list.last_].next = buffer;
    }
    list.last_ = buffer;
  }

  // Takes the first buffer of a list that is not empty off it, and those that were filled after it,
  // as long as they stand side by side and are full. They are the caller's until Give.
  Run TakeRun(List& list) {
    const uint16_t first = list.first_;
    const uint32_t offset = received_[first].offset;
    size_t size = received_[first].size;
    uint16_t end = first + 1;
    Unlink(list);
    while (ABSL_PREDICT_FALSE(list.first_ == end &&
                              offset + size == (end - first) * size_t{pool_.sizes().bytes})) {
      size += received_[end].size;
      ++end;
      Unlink(list);
    }
    return {{pool_.data(first) + offset, size}, first, end};
  }
  void Give(const Run& run) {
    for (uint16_t buffer = run.first; buffer != run.end; ++buffer) pool_.Give(buffer);
  }

  size_t BytesIn(const List& list) const;
  // Copies as much as fits into `space`, takes it off the list, and returns how much that was.
  size_t Copy(List& list, absl::Span<uint8_t> space);
  void Drop(List& list);

 private:
  // The bytes in a buffer that are still to be delivered.
  struct Received {
    uint32_t offset;
    uint32_t size;
    uint16_t next;  // of the list
  };

  // Takes the first buffer of a list off it.
  void Unlink(List& list) {
    list.first_ = received_[list.first_].next;
    if (list.empty()) list.last_ = kNone;
  }
  void GiveFirst(List& list) {
    const uint16_t buffer = list.first_;
    Unlink(list);
    pool_.Give(buffer);
  }

  ProvidedBuffers& pool_;
  std::vector<Received> received_;  // by buffer
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_RECEIVED_BUFFERS_H_
