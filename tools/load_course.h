// LoadCourse is how a load gets on, over streams or over UDP, for the thread that runs it: it tells
// a LoadSeries, and has what there is to show from time to time. Whoever runs the load looks often;
// the latencies of all its threads, of which each has 37 KiB, are read only when the series wants
// them or something is to be shown.
//
// Example:
//   LoadCourse course(LoadSeries(meter), [&] { return LatencyOfAllWorkers(); });
//   course.Begin(warm_up);
//   watch.AwaitDone(/*or_stop=*/true, LoadCourse::kLookInterval, [&] {
//     course.Look(absl::Seconds(1), [&] { Show(course.TakeProgress(CountAnswers())); });
//   });
//   course.End();
//   result.series = course.TakeSeries();
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_LOAD_COURSE_H_
#define SLUICE_TOOLS_LOAD_COURSE_H_

#include <chrono>
#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/load_series.h"

namespace sluice::tools {

class LoadCourse {
 public:
  static constexpr absl::Duration kLookInterval = absl::Milliseconds(100);

  struct Progress {
    bool warming_up = false;
    absl::Duration elapsed = {};  // since Begin and the warm-up; before Begin, since it was made
    double per_second = 0;        // answers since the progress before, or Begin
    absl::Duration p99 = {};      // of the same
  };

  // `read_latency` answers with the latencies of all answers so far.
  LoadCourse(LoadSeries series, absl::AnyInvocable<Histogram()> read_latency)
      : read_latency_(std::move(read_latency)), series_(std::move(series)) {}

  // The load begins; and ends, but for the answers that are missing.
  void Begin(absl::Duration warm_up);
  void End();

  // Calls `show` where `interval` has passed since TakeProgress was called, or Begin.
  void Look(absl::Duration interval, absl::FunctionRef<void()> show);
  // In `show`; `answers` are all so far.
  Progress TakeProgress(uint64_t answers);

  // In the end, once.
  LoadSeries TakeSeries() { return std::move(series_); }

 private:
  using Clock = std::chrono::steady_clock;

  absl::Duration now() const { return absl::FromChrono(Clock::now() - began_) - warm_up_; }
  absl::Duration since_shown() const { return absl::FromChrono(Clock::now() - shown_at_); }

  absl::AnyInvocable<Histogram()> read_latency_;
  LoadSeries series_;
  bool running_ = false;  // from Begin to End
  Clock::time_point began_ = Clock::now();
  absl::Duration warm_up_;
  Histogram latency_;  // when last read
  Clock::time_point shown_at_ = began_;
  uint64_t shown_answers_ = 0;
  Histogram shown_latency_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_COURSE_H_
