#include "sluice/tools/signal_scope.h"

#include <signal.h>

#include <latch>
#include <utility>

namespace sluice::tools {
namespace {

void RunOnLoop(EventLoop& loop, absl::AnyInvocable<void()> function) {
  std::latch done(1);
  loop.Post([&] {
    function();
    done.count_down();
  });
  done.wait();
}

}  // namespace

SignalScope::SignalScope(EventLoop& loop, absl::AnyInvocable<void()> on_signal)
    : loop_(loop), on_signal_(std::move(on_signal)) {
  RunOnLoop(loop_, [this] {
    watcher_ = std::make_unique<SignalWatcher>(loop_, std::initializer_list<int>{SIGINT, SIGTERM},
                                               [this](int /*signal*/) {
                                                 watcher_.reset();
                                                 on_signal_();
                                               });
  });
}

SignalScope::~SignalScope() {
  RunOnLoop(loop_, [this] { watcher_.reset(); });
}

HangupScope::HangupScope(EventLoop& loop, absl::AnyInvocable<void()> on_signal) : loop_(loop) {
  RunOnLoop(loop_, [&] {
    watcher_ = std::make_unique<SignalWatcher>(
        loop_, std::initializer_list<int>{SIGHUP},
        [on_signal = std::move(on_signal)](int /*signal*/) mutable { on_signal(); });
  });
}

HangupScope::~HangupScope() {
  RunOnLoop(loop_, [this] { watcher_.reset(); });
}

}  // namespace sluice::tools
