// SignalScope watches SIGINT and SIGTERM from its construction to its end, for a thread that runs
// no loop itself. Only the first one is reported: a second ends the process, as if nobody watched,
// so that a user who presses Ctrl-C again gets out. HangupScope watches SIGHUP, and reports each.
//
// Example:
//   std::latch asked_to_stop(1);
//   SignalScope signals(group->loop(0), [&] { asked_to_stop.count_down(); });
//   asked_to_stop.wait();
//
// To be made and destroyed by one thread, which is not the loop's; the loop must run meanwhile.
#ifndef SLUICE_TOOLS_SIGNAL_SCOPE_H_
#define SLUICE_TOOLS_SIGNAL_SCOPE_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/signals.h"

namespace sluice::tools {

class SignalScope {
 public:
  // `on_signal` is called on the loop's thread, once at most.
  SignalScope(EventLoop& loop, absl::AnyInvocable<void()> on_signal);
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

 private:
  EventLoop& loop_;
  absl::AnyInvocable<void()> on_signal_;
  std::unique_ptr<SignalWatcher> watcher_;  // the loop's
};

class HangupScope {
 public:
  // `on_signal` is called on the loop's thread.
  HangupScope(EventLoop& loop, absl::AnyInvocable<void()> on_signal);
  ~HangupScope();
  HangupScope(const HangupScope&) = delete;
  HangupScope& operator=(const HangupScope&) = delete;

 private:
  EventLoop& loop_;
  std::unique_ptr<SignalWatcher> watcher_;  // the loop's
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_SIGNAL_SCOPE_H_
