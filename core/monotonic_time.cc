#include "sluice/core/monotonic_time.h"

#include <cstdint>
#include <limits>
#include <ostream>

#include "absl/time/time.h"

namespace sluice {

MonotonicTime& MonotonicTime::operator+=(absl::Duration duration) {
  if (is_infinite()) return *this;
  const int64_t delta = absl::ToInt64Nanoseconds(duration);  // saturates
  if (__builtin_add_overflow(nanoseconds_, delta, &nanoseconds_)) {
    *this = delta > 0 ? InfiniteFuture() : InfinitePast();
  } else if (delta == std::numeric_limits<int64_t>::max()) {
    *this = InfiniteFuture();
  } else if (delta == std::numeric_limits<int64_t>::min()) {
    *this = InfinitePast();
  }
  return *this;
}

MonotonicTime& MonotonicTime::operator-=(absl::Duration duration) { return *this += -duration; }

absl::Duration operator-(MonotonicTime a, MonotonicTime b) {
  if (a.is_infinite()) {
    return a == MonotonicTime::InfiniteFuture() ? absl::InfiniteDuration()
                                                : -absl::InfiniteDuration();
  }
  if (b.is_infinite()) {
    return b == MonotonicTime::InfinitePast() ? absl::InfiniteDuration()
                                              : -absl::InfiniteDuration();
  }
  return absl::Nanoseconds(a.nanoseconds()) - absl::Nanoseconds(b.nanoseconds());
}

std::ostream& operator<<(std::ostream& out, MonotonicTime time) {
  if (time == MonotonicTime::InfiniteFuture()) return out << "infinite-future";
  if (time == MonotonicTime::InfinitePast()) return out << "infinite-past";
  return out << absl::FormatDuration(absl::Nanoseconds(time.nanoseconds()));
}

}  // namespace sluice
