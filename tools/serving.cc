#include "sluice/tools/serving.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/tools/printable.h"
#include "sluice/tools/signal_scope.h"

namespace sluice::tools {
namespace {

// A wait that still has its end within the clock's range.
constexpr absl::Duration kLongest = absl::Hours(24 * 365);

enum class Request : uint8_t { kNone, kReload, kStop };

// What signals ask the server for, until it has got to it.
class Requests {
 public:
  void AskToStop() { Ask(stop_); }
  void AskToReload() { Ask(reload_); }

  // Waits, for at most so long.
  Request Await(absl::Duration timeout) {
    std::unique_lock lock(mutex_);
    const auto asked = [this] { return stop_ || reload_; };
    if (timeout == absl::InfiniteDuration()) {
      changed_.wait(lock, asked);
    } else if (!changed_.wait_for(lock, absl::ToChronoNanoseconds(std::min(timeout, kLongest)),
                                  asked)) {
      return Request::kNone;
    }
    if (stop_) return Request::kStop;
    reload_ = false;
    return Request::kReload;
  }

 private:
  void Ask(bool& what) {
    const std::lock_guard lock(mutex_);
    what = true;
    changed_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  bool reload_ = false;
};

void AwaitStop(const ServingOptions& options, Requests& requests) {
  for (;;) {
    switch (requests.Await(options.report_every)) {
      case Request::kNone:
        options.report();
        break;
      case Request::kReload:
        options.reload();
        break;
      case Request::kStop:
        return;
    }
  }
}

}  // namespace

void TroubleLog::Add(const absl::Status& status) {
  constexpr auto kInterval = std::chrono::seconds(1);
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (shown_at_.has_value() && now - *shown_at_ < kInterval) {
    ++skipped_;
    return;
  }
  shown_at_ = now;
  const std::string more = skipped_ == 0 ? "" : absl::StrCat(" (and ", skipped_, " before)");
  skipped_ = 0;
  invocation_.Note(absl::StrCat(PrintableLine(status.message()), more));
}

void Serve(EventLoop& loop, const SocketAddress& address, const ServingOptions& options) {
  Requests requests;
  // A SIGHUP that comes at the end must not make that a sudden one.
  std::optional<HangupScope> hangup;
  if (options.reload) hangup.emplace(loop, [&] { requests.AskToReload(); });
  {
    SignalScope stop(loop, [&] { requests.AskToStop(); });
    // Not before the signals are watched: who reads this line may send one.
    std::printf("listening on %s\n", address.ToString().c_str());
    std::fflush(stdout);
    AwaitStop(options, requests);
  }
  options.stop();
}

void ReplaceEncryption(StreamServer& server,
                       const absl::StatusOr<std::shared_ptr<const ServerEncryption>>& encryption,
                       const Invocation& invocation) {
  if (!encryption.ok()) {
    return invocation.Note(
        absl::StrCat("not reloaded, what was there stays in use: ", encryption.status().message()));
  }
  server.SetEncryption(*encryption);
  invocation.Note(absl::StrCat("reloaded ", (*encryption)->source()));
}

}  // namespace sluice::tools
