// SignalWatcher turns signals into calls on a loop's thread. It works from any thread's point of
// view: the signal may arrive on whichever the system chooses.
//
// Example:
//   SignalWatcher signals(*loop, {SIGTERM, SIGINT}, [&](int signal) { loop->Stop(); });
//
// Each signal can be watched by one SignalWatcher at a time (checked). Several arrivals of one
// signal before the loop's next turn are one call. The destructor restores the earlier disposition.
// Loop-bound; to be destroyed before its loop.
#ifndef SLUICE_CORE_SIGNALS_H_
#define SLUICE_CORE_SIGNALS_H_

#include <initializer_list>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "sluice/core/event_loop.h"

namespace sluice {

class SignalWatcher {
 public:
  SignalWatcher(EventLoop& loop, std::initializer_list<int> signals,
                absl::AnyInvocable<void(int signal)> on_signal);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  struct Shared;
  class Arrival;
  static void Handle(int signal);

  std::shared_ptr<Shared> shared_;
  std::vector<Arrival*> arrivals_;  // they destroy themselves
};

}  // namespace sluice

#endif  // SLUICE_CORE_SIGNALS_H_
