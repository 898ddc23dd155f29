// MessageSchedule says when the messages of an open loop are due: evenly spaced from a beginning
// on, however long answers take. It keeps no list: message `index` is due at a time that is
// computed.
//
// Example:
//   MessageSchedule schedule(/*per_second=*/1000, /*phase=*/0);
//   schedule.Begin(loop.NowExact());
//   while (sent < schedule.DueBy(loop.NowExact())) latency_from = schedule.DueAt(sent++);
//
// Several workers share a rate by having a part of it each, and a phase, a fraction of the time
// between two messages of one worker, by which its messages come later.
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_MESSAGE_SCHEDULE_H_
#define SLUICE_TOOLS_MESSAGE_SCHEDULE_H_

#include <cmath>
#include <cstdint>

#include "sluice/core/monotonic_time.h"

namespace sluice::tools {

class MessageSchedule {
 public:
  // `per_second` is positive, `phase` in [0, 1).
  MessageSchedule(double per_second, double phase)
      : nanoseconds_(1e9 / per_second), phase_(phase) {}

  void Begin(MonotonicTime at) { began_ = at; }

  MonotonicTime DueAt(uint64_t index) const {
    // Whole nanoseconds: a double counts them exactly for a hundred days.
    return MonotonicTime::FromNanoseconds(
        began_.nanoseconds() +
        static_cast<int64_t>(std::ceil((static_cast<double>(index) + phase_) * nanoseconds_)));
  }

  // How many were due at or before `now`.
  uint64_t DueBy(MonotonicTime now) const;

 private:
  const double nanoseconds_;  // from one to the next
  const double phase_;
  MonotonicTime began_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_MESSAGE_SCHEDULE_H_
