// LoadWatch is where the thread that runs a load waits for its workers, of which each is on a
// thread of its own, and from time to time does something else.
//
// Example:
//   LoadWatch watch(threads);
//   ... each worker calls watch.OnDone() once, a signal watch.Stop() ...
//   watch.AwaitDone(/*or_stop=*/true, absl::Seconds(1), [&] { ShowHowItGetsOn(); });
//
// OnReady, OnDone and Stop are thread-safe; the rest is for the thread that made it.
#ifndef SLUICE_TOOLS_LOAD_WATCH_H_
#define SLUICE_TOOLS_LOAD_WATCH_H_

#include <condition_variable>
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
  // on the way they call `look`.
  //
  // Answers whether they have.
  bool AwaitReady(absl::Duration interval, absl::FunctionRef<void()> look) {
    return Await(ready_, /*or_stop=*/true, interval, look);
  }
  void AwaitDone(bool or_stop, absl::Duration interval, absl::FunctionRef<void()> look) {
    Await(done_, or_stop, interval, look);
  }

 private:
  void Tell(int& count);
  bool Await(const int& count, bool or_stop, absl::Duration interval,
             absl::FunctionRef<void()> look);

  const int workers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int ready_ = 0;  // these three under mutex_
  int done_ = 0;
  int stopped_ = 0;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_WATCH_H_
