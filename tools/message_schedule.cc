#include "sluice/tools/message_schedule.h"

namespace sluice::tools {

uint64_t MessageSchedule::DueBy(MonotonicTime now) const {
  const double passed = static_cast<double>(now.nanoseconds() - began_.nanoseconds());
  const double count = std::floor(passed / nanoseconds_ - phase_) + 1;
  // What rounding has done to a message that is due just now, either way, is made good.
  uint64_t due = count < 1 ? 0 : static_cast<uint64_t>(count);
  while (due > 0 && DueAt(due - 1) > now) --due;
  while (DueAt(due) <= now) ++due;
  return due;
}

}  // namespace sluice::tools
