#include "sluice/core/monotonic_time.h"

#include <cstdint>
#include <limits>
#include <sstream>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr MonotonicTime kFuture = MonotonicTime::InfiniteFuture();
constexpr MonotonicTime kPast = MonotonicTime::InfinitePast();

MonotonicTime At(int64_t nanoseconds) { return MonotonicTime::FromNanoseconds(nanoseconds); }

TEST(MonotonicTimeTest, HeaderExample) {
  MonotonicTime start = MonotonicTime::FromNanoseconds(1'000);
  MonotonicTime deadline = start + absl::Seconds(30);
  absl::Duration left = deadline - start;
  bool never = start + absl::InfiniteDuration() == MonotonicTime::InfiniteFuture();
  EXPECT_EQ(left, absl::Seconds(30));
  EXPECT_TRUE(never);
}

TEST(MonotonicTimeTest, IsAConstantOfEightBytes) {
  static_assert(sizeof(MonotonicTime) == 8);
  static_assert(MonotonicTime().nanoseconds() == 0);
  static_assert(MonotonicTime::FromNanoseconds(-5) < MonotonicTime());
  static_assert(MonotonicTime() < kFuture && kPast < MonotonicTime());
  static_assert(kFuture.is_infinite() && kPast.is_infinite() && !MonotonicTime().is_infinite());
}

TEST(MonotonicTimeTest, AddsAndSubtractsDurations) {
  EXPECT_EQ(At(5) + absl::Nanoseconds(7), At(12));
  EXPECT_EQ(At(5) - absl::Nanoseconds(7), At(-2));
  EXPECT_EQ(At(5) + absl::Nanoseconds(-7), At(-2));
  EXPECT_EQ(At(0) + absl::Hours(24 * 365), At(int64_t{24} * 365 * 3600 * 1'000'000'000));
  EXPECT_EQ(At(1) + absl::Nanoseconds(1.75), At(2)) << "fractions of a nanosecond are dropped";
}

TEST(MonotonicTimeTest, ArithmeticSaturatesAtInfinity) {
  EXPECT_EQ(At(kMax - 1) + absl::Nanoseconds(1), kFuture);
  EXPECT_EQ(At(kMax - 1) + absl::Hours(1), kFuture);
  EXPECT_EQ(At(-kMax) - absl::Hours(1), kPast);
  EXPECT_EQ(At(0) + absl::InfiniteDuration(), kFuture);
  EXPECT_EQ(At(-1) + absl::InfiniteDuration(), kFuture);
  EXPECT_EQ(At(0) - absl::InfiniteDuration(), kPast);
  EXPECT_EQ(At(1) - absl::InfiniteDuration(), kPast);
  EXPECT_EQ(At(0) + absl::Hours(24 * 366 * 1'000), kFuture);
}

TEST(MonotonicTimeTest, InfinityAbsorbs) {
  EXPECT_EQ(kFuture + absl::Hours(1), kFuture);
  EXPECT_EQ(kFuture - absl::Hours(1), kFuture);
  EXPECT_EQ(kFuture - absl::InfiniteDuration(), kFuture);
  EXPECT_EQ(kPast + absl::Hours(1), kPast);
}

TEST(MonotonicTimeTest, TheDifferenceOfTwoInstantsIsADuration) {
  EXPECT_EQ(At(12) - At(5), absl::Nanoseconds(7));
  EXPECT_EQ(At(5) - At(12), absl::Nanoseconds(-7));
  EXPECT_EQ(At(kMax - 1) - At(-kMax), absl::Nanoseconds(kMax - 1) + absl::Nanoseconds(kMax))
      << "no overflow";
  EXPECT_EQ(kFuture - At(5), absl::InfiniteDuration());
  EXPECT_EQ(At(5) - kFuture, -absl::InfiniteDuration());
  EXPECT_EQ(kPast - At(5), -absl::InfiniteDuration());
  EXPECT_EQ(At(5) - kPast, absl::InfiniteDuration());
}

TEST(MonotonicTimeTest, PrintsTheTimeSinceTheEpoch) {
  std::ostringstream out;
  out << At(30'500'000'000) << " " << kFuture << " " << kPast;
  EXPECT_EQ(out.str(), "30.5s infinite-future infinite-past");
}

}  // namespace
}  // namespace sluice
