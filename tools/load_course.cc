#include "sluice/tools/load_course.h"

#include <algorithm>

namespace sluice::tools {

void LoadCourse::Begin(absl::Duration warm_up) {
  running_ = true;
  began_ = shown_at_ = Clock::now();
  warm_up_ = warm_up;
  series_.Add(-warm_up, latency_);
}

void LoadCourse::End() {
  running_ = false;
  latency_ = read_latency_();
  series_.End(now(), latency_);
}

void LoadCourse::Look(absl::Duration interval, absl::FunctionRef<void()> show) {
  const bool is_due = since_shown() >= interval;
  const bool is_wanted = running_ && series_.Wants(now());
  if (is_wanted || is_due) latency_ = read_latency_();
  if (is_wanted) series_.Add(now(), latency_);  // reading takes a while
  if (is_due) show();
}

LoadCourse::Progress LoadCourse::TakeProgress(uint64_t answers) {
  const Progress progress = {.warming_up = now() < absl::ZeroDuration(),
                             .elapsed = std::max(now(), absl::ZeroDuration()),
                             .per_second = static_cast<double>(answers - shown_answers_) /
                                           absl::ToDoubleSeconds(since_shown()),
                             .p99 = latency_.Since(shown_latency_).Quantile(0.99)};
  shown_at_ = Clock::now();
  shown_answers_ = answers;
  shown_latency_ = latency_;
  return progress;
}

}  // namespace sluice::tools
