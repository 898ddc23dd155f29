#include "sluice/tools/input_thread.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"

namespace sluice::tools {

InputThread::InputThread(int descriptor, EventLoop& loop, OnPiece on_piece)
    : descriptor_(descriptor),
      loop_(loop),
      on_piece_(std::move(on_piece)),
      buffer_(kMaxPiece, '\0') {
  if (pipe2(wake_, O_CLOEXEC) != 0) std::abort();
  thread_ = std::thread([this] { Run(); });
}

InputThread::~InputThread() {
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
    changed_.notify_one();
  }
  close(wake_[1]);
  thread_.join();
  close(wake_[0]);
}

void InputThread::Continue() {
  const std::lock_guard lock(mutex_);
  wanted_ = true;
  changed_.notify_one();
}

bool InputThread::AwaitReadable() {
  pollfd waited[2] = {{.fd = descriptor_, .events = POLLIN, .revents = 0},
                      {.fd = wake_[0], .events = 0, .revents = 0}};
  while (poll(waited, 2, -1) < 0 && errno == EINTR) {
  }
  return waited[1].revents == 0;
}

void InputThread::Run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return wanted_ || quit_; });
      if (quit_) return;
      wanted_ = false;
    }
    ssize_t size;
    do {
      if (!AwaitReadable()) return;
      size = read(descriptor_, buffer_.data(), buffer_.size());
    } while (size < 0 && (errno == EINTR || errno == EAGAIN));
    if (size < 0) return Deliver(absl::ErrnoToStatus(errno, "cannot read standard input"));
    Deliver(absl::string_view(buffer_.data(), static_cast<size_t>(size)));
    if (size == 0) return;
  }
}

void InputThread::Deliver(absl::StatusOr<absl::string_view> piece) {
  loop_.Post([this, piece = std::move(piece)]() mutable { on_piece_(std::move(piece)); });
}

}  // namespace sluice::tools
