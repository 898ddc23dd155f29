#include "sluice/core/signals.h"

#include <signal.h>

#include <array>
#include <atomic>
#include <thread>
#include <utility>

#include "sluice/core/internal/check.h"

namespace sluice {

struct SignalWatcher::Shared {
  absl::AnyInvocable<void(int)> on_signal;
};

// A signal's way to its loop: allocated beforehand, since a signal handler may not allocate.
class SignalWatcher::Arrival final : public EventLoop::Posted {
 public:
  Arrival(EventLoop& loop, int signal, std::shared_ptr<Shared> shared)
      : loop_(loop), signal_(signal), shared_(std::move(shared)) {}

  void Install() {
    SLUICE_CHECK(signal_ > 0 && signal_ < NSIG);
    Arrival* none = nullptr;
    SLUICE_CHECK(
        watched[signal_].compare_exchange_strong(none, this));  // or another watches this signal
    struct sigaction action = {};
    action.sa_handler = &Handle;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    SLUICE_CHECK(sigaction(signal_, &action, &earlier_) == 0);
  }

  // The watcher goes. One that is still on its way to the loop is destroyed when it gets there.
  void Remove() {
    sigaction(signal_, &earlier_, nullptr);
    watched[signal_].store(nullptr);
    while (handlers_running.load() != 0) std::this_thread::yield();
    shared_ = nullptr;
    if (!queued_.load()) delete this;
  }

  void OnSignal() {
    if (!queued_.exchange(true)) loop_.Push(*this);
  }

  void Run() override {
    queued_.store(false);
    if (shared_ == nullptr) return Discard();
    const std::shared_ptr<Shared> shared = shared_;  // the call may destroy the watcher
    shared->on_signal(signal_);
  }
  void Discard() override { delete this; }

  static inline std::array<std::atomic<Arrival*>, NSIG> watched = {};
  static inline std::atomic<int> handlers_running{0};

 private:
  EventLoop& loop_;
  const int signal_;
  std::shared_ptr<Shared> shared_;
  std::atomic<bool> queued_{false};
  struct sigaction earlier_ = {};
};

void SignalWatcher::Handle(int signal) {
  Arrival::handlers_running.fetch_add(1);
  if (Arrival* arrival = Arrival::watched[signal].load()) arrival->OnSignal();
  Arrival::handlers_running.fetch_sub(1);
}

SignalWatcher::SignalWatcher(EventLoop& loop, std::initializer_list<int> signals,
                             absl::AnyInvocable<void(int)> on_signal)
    : shared_(std::make_shared<Shared>(Shared{std::move(on_signal)})) {
  for (const int signal : signals) {
    arrivals_.push_back(new Arrival(loop, signal, shared_));
    arrivals_.back()->Install();
  }
}

SignalWatcher::~SignalWatcher() {
  for (Arrival* arrival : arrivals_) arrival->Remove();
}

}  // namespace sluice
