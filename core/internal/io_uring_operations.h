// IoUringOperations is what the io_uring engine asks of the kernel: to receive into provided
// buffers, to watch a descriptor, to cancel one of these. Each operation is for an entry of a table
// (id_table.h), and its completions name both; it may complete when the entry has gone. It owns the
// ring, and knows of sockets no more than their descriptors.
//
// Example:
//   IoUringOperations operations;
//   absl::Status status = operations.Open({}, buffers);
//   if (!status.ok()) return status;
//   operations.Watch(IoUringOperation::kWritable, id, fd, POLLOUT);
//   operations.Enter(deadline);
//   operations.TakeCompletions(
//       512, [](IoUringOperation operation, EntryId id, const io_uring_cqe& cqe) { /* … */ });
//
// What returns bool is false when the queue is full: after the next Enter there is room.
//
// Loop-bound, as the ring is to one thread: on another one, Enter says EEXIST, and Open makes a new
// ring. Source: io_uring_enter(2).
#ifndef SLUICE_CORE_INTERNAL_IO_URING_OPERATIONS_H_
#define SLUICE_CORE_INTERNAL_IO_URING_OPERATIONS_H_

#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "sluice/core/internal/id_table.h"
#include "sluice/core/internal/io_uring_ring.h"
#include "sluice/core/internal/provided_buffers.h"
#include "sluice/core/monotonic_time.h"

namespace sluice::internal {

// What a completion is of.
enum class IoUringOperation : uint8_t {
  kReceive,
  kReadable,
  kWritable,
  kHangUp,
  kAcceptable,
  kWake,
  kCancel
};

class IoUringOperations {
 public:
  enum class Shots : uint8_t { kOne, kMany };

  IoUringOperations() = default;
  IoUringOperations(const IoUringOperations&) = delete;
  IoUringOperations& operator=(const IoUringOperations&) = delete;
  ~IoUringOperations();

  // Makes a ring that receives into `buffers`, in place of the one there was, with which what is
  // under way ends. Where that fails, the old one stays. Errors: as IoUringRing::Create and
  // RegisterBuffers.
  absl::Status Open(const IoUringRing::Sizes& sizes, ProvidedBuffers& buffers);

  // Completes for each buffer that was filled, until there is an end, an error, or no buffer.
  bool Receive(EntryId id, int fd);

  // Completes, once or each time, when one of `events` (poll(2)) is there.
  bool Watch(IoUringOperation operation, EntryId id, int fd, uint32_t events,
             Shots shots = Shots::kOne);

  // What is cancelled completes with ECANCELED. The cancellation itself completes only if there was
  // nothing to cancel.
  bool Cancel(IoUringOperation operation, EntryId id) { return SubmitCancel(Tag(operation, id)); }

  // As Cancel, with the next SubmitCancels or HandOverCancels.
  void CancelLater(IoUringOperation operation, EntryId id) {
    cancels_.push_back(Tag(operation, id));
  }
  bool SubmitCancels() { return ABSL_PREDICT_TRUE(cancels_.empty()) || SubmitWaitingCancels(); }
  // At once. Only cancellations may be handed over outside of a loop's wait, which sees to it that
  // the kernel takes everything: they name no descriptor that could be closed, and be another's,
  // before that. Returns as IoUringRing::Enter.
  int HandOverCancels();

  // Hands over what was asked for, and waits for a completion until `deadline`. Returns as
  // IoUringRing::Enter.
  int Enter(MonotonicTime deadline);
  bool handed_over() const { return ring_->handed_over(); }

  // Calls `take(operation, id, cqe)` for at most `limit` completions, oldest first, and returns for
  // how many.
  template <typename Take>
  size_t TakeCompletions(size_t limit, Take take) {
    return ring_->TakeCompletions(limit, [&](const io_uring_cqe& cqe) {
      take(static_cast<IoUringOperation>(cqe.user_data >> 56), EntryId::Of(cqe.user_data), cqe);
    });
  }

 private:
  static uint64_t Tag(IoUringOperation operation, EntryId id) {
    return static_cast<uint64_t>(operation) << 56 | id.bits();
  }
  bool SubmitCancel(uint64_t tag);
  bool SubmitWaitingCancels();

  std::unique_ptr<IoUringRing> ring_;
  std::vector<uint64_t> cancels_;  // tags
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_IO_URING_OPERATIONS_H_
