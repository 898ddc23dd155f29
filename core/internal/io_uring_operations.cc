#include "sluice/core/internal/io_uring_operations.h"

#include <utility>

#include "absl/status/statusor.h"
#include "sluice/core/internal/socket_ops.h"

namespace sluice::internal {

// On another thread than the ring's, closing the ring cancels what is left.
IoUringOperations::~IoUringOperations() {
  if (!cancels_.empty()) HandOverCancels();
}

absl::Status IoUringOperations::Open(const IoUringRing::Sizes& sizes, ProvidedBuffers& buffers) {
  absl::StatusOr<std::unique_ptr<IoUringRing>> ring = IoUringRing::Create(sizes);
  if (!ring.ok()) return ring.status();
  absl::Status status = buffers.Register(**ring);
  if (!status.ok()) return status;
  ring_ = *std::move(ring);
  cancels_.clear();
  return absl::OkStatus();
}

bool IoUringOperations::Receive(EntryId id, int fd) {
  io_uring_sqe* const sqe = ring_->NextSubmission();
  if (sqe == nullptr) return false;
  sqe->opcode = IORING_OP_RECV;
  sqe->fd = fd;
  sqe->ioprio = IORING_RECV_MULTISHOT;
  sqe->flags = IOSQE_BUFFER_SELECT;
  sqe->user_data = Tag(IoUringOperation::kReceive, id);
  return true;
}

bool IoUringOperations::Watch(IoUringOperation operation, EntryId id, int fd, uint32_t events,
                              Shots shots) {
  io_uring_sqe* const sqe = ring_->NextSubmission();
  if (sqe == nullptr) return false;
  sqe->opcode = IORING_OP_POLL_ADD;
  sqe->fd = fd;
  sqe->poll32_events = events;
  sqe->len = shots == Shots::kMany ? IORING_POLL_ADD_MULTI : 0;
  sqe->user_data = Tag(operation, id);
  return true;
}

bool IoUringOperations::SubmitCancel(uint64_t tag) {
  io_uring_sqe* const sqe = ring_->NextSubmission();
  if (sqe == nullptr) return false;
  sqe->opcode = IORING_OP_ASYNC_CANCEL;
  sqe->fd = -1;
  sqe->addr = tag;
  sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = Tag(IoUringOperation::kCancel, EntryId{0, 0});
  return true;
}

bool IoUringOperations::SubmitWaitingCancels() {
  while (!cancels_.empty()) {
    if (!SubmitCancel(cancels_.back())) return false;
    cancels_.pop_back();
  }
  return true;
}

int IoUringOperations::HandOverCancels() {
  for (;;) {
    const bool all = SubmitCancels();
    const int error = ring_->Enter(0, nullptr);
    if (all || error != 0) return error;
  }
}

int IoUringOperations::Enter(MonotonicTime deadline) {
  if (deadline == MonotonicTime::InfiniteFuture()) return ring_->Enter(1, nullptr);
  const MonotonicTime now = deadline <= MonotonicTime() ? MonotonicTime() : SystemNow();
  if (deadline <= now) return ring_->Enter(0, nullptr);
  const int64_t left = deadline.nanoseconds() - now.nanoseconds();
  const __kernel_timespec timeout = {left / 1'000'000'000, left % 1'000'000'000};
  return ring_->Enter(1, &timeout);
}

}  // namespace sluice::internal
