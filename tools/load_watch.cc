#include "sluice/tools/load_watch.h"

namespace sluice::tools {

void LoadWatch::Tell(int& count) {
  const std::lock_guard lock(mutex_);
  ++count;
  changed_.notify_one();
}

bool LoadWatch::Await(const int& count, bool or_stop, absl::Duration interval,
                      absl::FunctionRef<void()> look) {
  const auto is_over = [&] { return count == workers_ || (or_stop && stopped_ != 0); };
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, absl::ToChronoNanoseconds(interval), is_over))
        return count == workers_;
    }
    look();
  }
}

}  // namespace sluice::tools
