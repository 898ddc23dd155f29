#include "sluice/tools/load_watch.h"

namespace sluice::tools {

double LoadWatch::RateOf(uint64_t count) {
  const double seconds = absl::ToDoubleSeconds(absl::FromChrono(Clock::now() - shown_at_));
  const double rate = static_cast<double>(count - shown_count_) / seconds;
  shown_at_ = Clock::now();
  shown_count_ = count;
  return rate;
}

void LoadWatch::Tell(int& count) {
  const std::lock_guard lock(mutex_);
  ++count;
  changed_.notify_one();
}

bool LoadWatch::Await(const int& count, bool or_stop, absl::Duration interval,
                      absl::FunctionRef<void()> show) {
  const auto is_over = [&] { return count == workers_ || (or_stop && stopped_ != 0); };
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, absl::ToChronoNanoseconds(interval), is_over))
        return count == workers_;
    }
    show();
  }
}

}  // namespace sluice::tools
