#include "sluice/core/internal/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "absl/types/span.h"
#include "sluice/core/buffer.h"

namespace sluice::internal {
namespace {

#ifdef __linux__
// A process that has used up its share of pages for pipes gets pipes of two, which are not worth
// the while.
constexpr int kLeastBytes = 64 * 1024;

std::unique_ptr<Pipe> OpenPipe(PipePool& pool) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) return nullptr;
  auto pipe = std::make_unique<Pipe>(pool, UniqueFd(fds[0]), UniqueFd(fds[1]));
  if (fcntl(fds[1], F_SETPIPE_SZ, PipePool::kBytes) < 0 &&
      fcntl(fds[1], F_GETPIPE_SZ) < kLeastBytes)
    return nullptr;
  return pipe;
}
#else
std::unique_ptr<Pipe> OpenPipe(PipePool&) { return nullptr; }
#endif

}  // namespace

void Pipe::ReadTo(Buffer& buffer) {
  while (size_ != 0) {
    const absl::Span<uint8_t> space = buffer.Reserve(std::min<size_t>(size_, 64 * 1024));
    const ssize_t n = read(out(), space.data(), std::min(space.size(), size_));
    buffer.Commit(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n > 0) {
      size_ -= static_cast<size_t>(n);
    } else if (n == 0 || errno != EINTR) {
      return;  // not with a pipe that holds bytes
    }
  }
}

void ReturnPipe::operator()(Pipe* pipe) const { pipe->pool_.Return(std::unique_ptr<Pipe>(pipe)); }

PipePtr PipePool::Take() {
  if (refused_ || lent_ == kMostLent) return nullptr;
  std::unique_ptr<Pipe> pipe;
  if (idle_.empty()) {
    pipe = OpenPipe(*this);
    if (pipe == nullptr) return nullptr;
  } else {
    pipe = std::move(idle_.back());
    idle_.pop_back();
  }
  ++lent_;
  return PipePtr(pipe.release());
}

void PipePool::Return(std::unique_ptr<Pipe> pipe) {
  --lent_;
  if (pipe->size() == 0 && idle_.size() < kMostIdle) idle_.push_back(std::move(pipe));
}

}  // namespace sluice::internal
