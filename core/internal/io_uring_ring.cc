#include "sluice/core/internal/io_uring_ring.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

constexpr char kNeeds[] =
    " (this engine needs Linux 6.1 or newer, with io_uring allowed; the epoll engine needs "
    "neither)";

int Setup(uint32_t entries, io_uring_params* params) {
  return static_cast<int>(syscall(SYS_io_uring_setup, entries, params));
}

int Register(int fd, unsigned operation, const void* argument, unsigned count) {
  return static_cast<int>(syscall(SYS_io_uring_register, fd, operation, argument, count));
}

absl::Status RingError(int error, absl::string_view call) {
  switch (error) {
    case ENOSYS:
      return absl::UnimplementedError(
          absl::StrCat("io_uring: ", call, ": this kernel has no io_uring", kNeeds));
    case EINVAL:
      return absl::UnimplementedError(
          absl::StrCat("io_uring: ", call,
                       ": this kernel is too old: it lacks SINGLE_ISSUER, DEFER_TASKRUN or "
                       "provided buffer rings",
                       kNeeds));
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(
          absl::StrCat("io_uring: ", call,
                       ": forbidden, by the sysctl kernel.io_uring_disabled or by a filter of "
                       "system calls (seccomp), as containers have",
                       kNeeds));
    case ENOMEM:
      return absl::ResourceExhaustedError(
          absl::StrCat("io_uring: ", call,
                       ": no memory for the queues, which count as locked memory of the user "
                       "(RLIMIT_MEMLOCK, ulimit -l)"));
    default:
      return SystemError(error, call, "io_uring");
  }
}

}  // namespace

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, size_);
}

bool Mapping::Map(size_t size, int fd, uint64_t offset) {
  const int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED | MAP_POPULATE;
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, kind, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) return false;
  data_ = data;
  size_ = size;
  return true;
}

absl::StatusOr<std::unique_ptr<IoUringRing>> IoUringRing::Create(const Sizes& sizes) {
  io_uring_params params = {};
  params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
                 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
  params.cq_entries = sizes.completions;
  UniqueFd fd(Setup(sizes.submissions, &params));
  if (!fd.ok()) return RingError(errno, "io_uring_setup");
  std::unique_ptr<IoUringRing> ring(new IoUringRing(std::move(fd)));
  if (absl::Status status = ring->Init(params); !status.ok()) return status;
  return ring;
}

absl::Status IoUringRing::Init(const io_uring_params& params) {
  constexpr uint32_t kFeatures = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
                                 IORING_FEAT_EXT_ARG | IORING_FEAT_FAST_POLL | IORING_FEAT_CQE_SKIP;
  if ((params.features & kFeatures) != kFeatures) return RingError(EINVAL, "io_uring_setup");
  const size_t submission_bytes = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  const size_t completion_bytes = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  if (!rings_.Map(std::max(submission_bytes, completion_bytes), fd_.get(), IORING_OFF_SQ_RING) ||
      !entries_.Map(params.sq_entries * sizeof(io_uring_sqe), fd_.get(), IORING_OFF_SQES)) {
    return RingError(errno, "mmap");
  }
  const auto field = [this](uint32_t offset) {
    return reinterpret_cast<uint32_t*>(rings_.data() + offset);
  };
  submissions_.head = field(params.sq_off.head);
  submissions_.tail = field(params.sq_off.tail);
  submissions_.mask = params.sq_entries - 1;
  submissions_.entries = reinterpret_cast<io_uring_sqe*>(entries_.data());
  uint32_t* const order = field(params.sq_off.array);
  for (uint32_t i = 0; i < params.sq_entries; ++i) order[i] = i;
  completions_.head = field(params.cq_off.head);
  completions_.tail = field(params.cq_off.tail);
  completions_.mask = params.cq_entries - 1;
  completions_.entries = reinterpret_cast<io_uring_cqe*>(rings_.data() + params.cq_off.cqes);
  // A filter may allow one of the calls and not another: better known now than in the first turn. A
  // ring that is not enabled yet answers EBADFD.
  if (syscall(SYS_io_uring_enter, fd_.get(), 0, 0, 0, nullptr, 0) != 0 && errno != EBADFD)
    return RingError(errno, "io_uring_enter");
  return absl::OkStatus();
}

absl::Status IoUringRing::RegisterBuffers(const void* ring, uint32_t entries) {
  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uint64_t>(ring);
  registration.ring_entries = entries;
  if (Register(fd_.get(), IORING_REGISTER_PBUF_RING, &registration, 1) != 0)
    return RingError(errno, "io_uring_register");
  return absl::OkStatus();
}

io_uring_sqe* IoUringRing::NextSubmission() {
  const uint32_t head = __atomic_load_n(submissions_.head, __ATOMIC_ACQUIRE);
  if (submissions_.written - head > submissions_.mask) return nullptr;
  io_uring_sqe* entry = &submissions_.entries[submissions_.written++ & submissions_.mask];
  std::memset(entry, 0, sizeof(*entry));
  return entry;
}

int IoUringRing::Enter(uint32_t wait_for, const __kernel_timespec* timeout) {
  if (!enabled_) {
    if (Register(fd_.get(), IORING_REGISTER_ENABLE_RINGS, nullptr, 0) != 0) return errno;
    enabled_ = true;
  }
  __atomic_store_n(submissions_.tail, submissions_.written, __ATOMIC_RELEASE);
  const uint32_t count =
      submissions_.written - __atomic_load_n(submissions_.head, __ATOMIC_ACQUIRE);
  io_uring_getevents_arg argument = {};
  argument.ts = reinterpret_cast<uint64_t>(timeout);
  const long result =
      syscall(SYS_io_uring_enter, fd_.get(), count, wait_for,
              IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof(argument));
  return result < 0 ? errno : 0;
}

}  // namespace sluice::internal
