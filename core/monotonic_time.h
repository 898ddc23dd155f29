#ifndef SLUICE_CORE_MONOTONIC_TIME_H_
#define SLUICE_CORE_MONOTONIC_TIME_H_

#include <compare>
#include <cstdint>
#include <iosfwd>
#include <limits>

#include "absl/time/time.h"

namespace sluice {

// MonotonicTime is an instant on a clock that never jumps back: nanoseconds since an epoch that
// only the clock knows (CLOCK_MONOTONIC in production, virtual time in the simulator). It is not
// the time of day, and two instants are comparable only when they come from the same clock. It
// reads no clock itself: EventLoop::Now() does.
//
// Example:
//   MonotonicTime start = MonotonicTime::FromNanoseconds(1'000);
//   MonotonicTime deadline = start + absl::Seconds(30);
//   absl::Duration left = deadline - start;                      // 30s
//   bool never = start + absl::InfiniteDuration() == MonotonicTime::InfiniteFuture();
//
// Arithmetic saturates, and infinity absorbs: InfiniteFuture() plus or minus anything is
// InfiniteFuture(). Finite instants reach 292 years to either side of the epoch.
//
// A value of 8 bytes; thread-compatible.
class MonotonicTime {
 public:
  // The epoch.
  constexpr MonotonicTime() = default;

  static constexpr MonotonicTime FromNanoseconds(int64_t nanoseconds) {
    return MonotonicTime(nanoseconds);
  }

  // Later than every other instant: the deadline of what has none.
  static constexpr MonotonicTime InfiniteFuture() {
    return MonotonicTime(std::numeric_limits<int64_t>::max());
  }

  // Earlier than every other instant.
  static constexpr MonotonicTime InfinitePast() {
    return MonotonicTime(std::numeric_limits<int64_t>::min());
  }

  constexpr int64_t nanoseconds() const { return nanoseconds_; }

  constexpr bool is_infinite() const {
    return *this == InfiniteFuture() || *this == InfinitePast();
  }

  friend constexpr auto operator<=>(MonotonicTime, MonotonicTime) = default;

  // Fractions of a nanosecond in `duration` are dropped.
  MonotonicTime& operator+=(absl::Duration duration);
  MonotonicTime& operator-=(absl::Duration duration);
  friend MonotonicTime operator+(MonotonicTime time, absl::Duration duration) {
    return time += duration;
  }
  friend MonotonicTime operator-(MonotonicTime time, absl::Duration duration) {
    return time -= duration;
  }

  // The time from `b` to `a`. An infinite `a` gives an infinite duration, and so does an infinite
  // `b` (negated).
  friend absl::Duration operator-(MonotonicTime a, MonotonicTime b);

 private:
  explicit constexpr MonotonicTime(int64_t nanoseconds) : nanoseconds_(nanoseconds) {}

  int64_t nanoseconds_ = 0;
};

// For test failures and logs: "30.5s" since the epoch, "infinite-future" or "infinite-past".
std::ostream& operator<<(std::ostream& out, MonotonicTime time);

}  // namespace sluice

#endif  // SLUICE_CORE_MONOTONIC_TIME_H_
