// LoadWatch is where the thread that runs a load waits for its workers, of which each is on a
// thread of its own, and looks from time to time how they get on.
//
// Example:
//   LoadWatch watch(threads);
//   ... each worker calls watch.OnDone() once, a signal watch.Stop() ...
//   watch.Begin();
//   watch.AwaitDone(/*or_stop=*/true, absl::Seconds(1), [&] { Show(watch.elapsed()); });
//
// OnReady, OnDone and Stop are thread-safe; the rest is for the thread that made it.
#ifndef SLUICE_TOOLS_LOAD_WATCH_H_
#define SLUICE_TOOLS_LOAD_WATCH_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"

namespace sluice::tools {

class LoadWatch {
 public:
  explicit LoadWatch(int workers) : workers_(workers) {}

  void OnReady() { Tell(ready_); }
  void OnDone() { Tell(done_); }
  void Stop() { Tell(stopped_); }

  // Wait until all workers have said so or, if that is to end it, Stop was called; every `interval`
  // on the way they call `show`.
  //
  // Answers whether they have.
  bool AwaitReady(absl::Duration interval, absl::FunctionRef<void()> show) {
    return Await(ready_, /*or_stop=*/true, interval, show);
  }
  void AwaitDone(bool or_stop, absl::Duration interval, absl::FunctionRef<void()> show) {
    Await(done_, or_stop, interval, show);
  }

  // The time is counted from here on.
  void Begin() { began_ = shown_at_ = Clock::now(); }
  absl::Duration elapsed() const { return absl::FromChrono(Clock::now() - began_); }
  // Since RateOf was called, or Begin.
  absl::Duration since_shown() const { return absl::FromChrono(Clock::now() - shown_at_); }
  // How many there were in a second, of what is `count` now, since this was last asked.
  double RateOf(uint64_t count);

 private:
  using Clock = std::chrono::steady_clock;

  void Tell(int& count);
  bool Await(const int& count, bool or_stop, absl::Duration interval,
             absl::FunctionRef<void()> show);

  const int workers_;
  Clock::time_point began_;
  Clock::time_point shown_at_;
  uint64_t shown_count_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  int ready_ = 0;  // these three under mutex_
  int done_ = 0;
  int stopped_ = 0;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_WATCH_H_
