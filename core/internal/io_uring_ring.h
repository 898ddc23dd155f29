// IoUringRing is the pair of queues that io_uring(7) shares with the kernel: a place to write
// submissions to, one system call that hands them over and waits, and the completions. It knows
// nothing of sockets.
//
// It is made of the three system calls and <linux/io_uring.h>, not of liburing: what an engine
// needs of it is a tenth of that library and is in this file and its .cc, while the library would
// be a further source to fetch, pin and build on every road to sluice, and the one that Debian 12
// has (2.3) lacks what came later anyway.
//
// Example:
//   absl::StatusOr<std::unique_ptr<IoUringRing>> ring = IoUringRing::Create({});
//   if (!ring.ok()) return ring.status();
//   io_uring_sqe* sqe = (*ring)->NextSubmission();
//   sqe->opcode = IORING_OP_NOP;
//   sqe->user_data = 42;
//   (*ring)->Enter(/*wait_for=*/1, nullptr);
//   (*ring)->TakeCompletions(1, [](const io_uring_cqe& cqe) { /* cqe.user_data is 42 */ });
//
// The ring belongs to one thread: the first that calls Enter. It may be made on another
// (IORING_SETUP_R_DISABLED). Operations make progress inside Enter only (DEFER_TASKRUN), so that
// nothing is received behind the back of who looks at a socket between two calls.
//
// Completions that find no room stay in the kernel until there is (IORING_FEAT_NODROP), and Enter
// fetches them.
//
// Source: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
#ifndef SLUICE_CORE_INTERNAL_IO_URING_RING_H_
#define SLUICE_CORE_INTERNAL_IO_URING_RING_H_

#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/core/internal/socket_ops.h"

namespace sluice::internal {

// Memory from mmap(2), given back with its owner.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
  }
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping();
  // Of a ring, or (fd -1) of memory. False with errno.
  bool Map(size_t size, int fd, uint64_t offset);
  uint8_t* data() const { return static_cast<uint8_t*>(data_); }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

class IoUringRing {
 public:
  // Entries of the queues: powers of two.
  struct Sizes {
    uint32_t submissions = 512;
    uint32_t completions = 4096;
  };

  // Errors: kUnimplemented (a kernel before 6.1, or without io_uring), kPermissionDenied (forbidden
  // by kernel.io_uring_disabled or by a filter of system calls), kResourceExhausted. They say what
  // is needed. Thread-safe.
  static absl::StatusOr<std::unique_ptr<IoUringRing>> Create(const Sizes& sizes);

  // Lets the kernel pick buffers from the ring of `entries` at `ring` as group 0.
  absl::Status RegisterBuffers(const void* ring, uint32_t entries);

  // A zeroed entry to fill in, which the next Enter hands over; null when the queue is full.
  io_uring_sqe* NextSubmission();

  // Hands over what was written, runs what is due, and waits until there are `wait_for` completions
  // or the timeout has passed (null: none). Returns 0 or an errno: ETIME; EINTR; EBUSY or EAGAIN
  // when the kernel wants completions taken or lacks memory; EEXIST when the ring belongs to
  // another thread.
  int Enter(uint32_t wait_for, const __kernel_timespec* timeout);

  // Whether the kernel has everything that was written. When it lacks memory it takes less, or
  // nothing; a descriptor that is named in what is left must not be closed.
  bool handed_over() const {
    return __atomic_load_n(submissions_.head, __ATOMIC_ACQUIRE) == submissions_.written;
  }

  // Calls `take` for at most `limit` completions, oldest first, and returns for how many.
  template <typename Take>
  size_t TakeCompletions(size_t limit, Take take) {
    uint32_t head = *completions_.head;
    const uint32_t tail = __atomic_load_n(completions_.tail, __ATOMIC_ACQUIRE);
    size_t taken = 0;
    for (; head != tail && taken < limit; ++head, ++taken)
      take(completions_.entries[head & completions_.mask]);
    __atomic_store_n(completions_.head, head, __ATOMIC_RELEASE);
    return taken;
  }

 private:
  explicit IoUringRing(UniqueFd fd) : fd_(std::move(fd)) {}
  absl::Status Init(const io_uring_params& params);

  UniqueFd fd_;
  Mapping rings_;
  Mapping entries_;
  bool enabled_ = false;
  struct {
    uint32_t* head = nullptr;  // the kernel's
    uint32_t* tail = nullptr;
    uint32_t mask = 0;
    uint32_t written = 0;  // the tail, before it is published
    io_uring_sqe* entries = nullptr;
  } submissions_;
  struct {
    uint32_t* head = nullptr;
    uint32_t* tail = nullptr;  // the kernel's
    uint32_t mask = 0;
    io_uring_cqe* entries = nullptr;
  } completions_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_IO_URING_RING_H_
