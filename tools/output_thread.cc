#include "sluice/tools/output_thread.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::tools {

OutputThread::OutputThread(int descriptor, EventLoop& loop, OnReady on_ready)
    : descriptor_(descriptor), loop_(loop), on_ready_(std::move(on_ready)) {
  thread_ = std::thread([this] { Run(); });
}

OutputThread::~OutputThread() { Finish().IgnoreError(); }

bool OutputThread::Write(absl::string_view text) {
  const std::lock_guard lock(mutex_);
  if (!status_.ok()) return true;
  absl::StrAppend(&waiting_, text);
  changed_.notify_one();
  if (waiting_.size() < kHighMark) return true;
  is_awaited_ = true;
  return false;
}

absl::Status OutputThread::Finish() {
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(mutex_);
  return status_;
}

void OutputThread::Run() {
  for (;;) {
    std::string text;
    bool was_awaited;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !waiting_.empty() || finished_; });
      if (waiting_.empty()) return;
      text.swap(waiting_);
      was_awaited = std::exchange(is_awaited_, false);
    }
    absl::Status status = WriteAll(text);
    const bool failed = !status.ok();
    if (failed) {
      const std::lock_guard lock(mutex_);
      status_ = status;
      waiting_.clear();
    }
    if (was_awaited || failed) {
      loop_.Post([this, status = std::move(status)]() mutable { on_ready_(std::move(status)); });
    }
    if (failed) return;
  }
}

absl::Status OutputThread::WriteAll(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(descriptor_, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      // Somebody has made the descriptor, which processes share, non-blocking.
      pollfd waited = {.fd = descriptor_, .events = POLLOUT, .revents = 0};
      poll(&waited, 1, -1);
    } else if (errno != EINTR) {
      return absl::ErrnoToStatus(errno, "cannot write to standard output");
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice::tools
