#include "sluice/core/internal/split_mix.h"

#include <cstdint>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace sluice::internal {
namespace {

TEST(SplitMix64Test, HeaderExample) {
  const absl::Duration most = absl::Seconds(4);
  SplitMix64 random(/*seed=*/1);
  const absl::Duration wait = most * random.Fraction();
  EXPECT_GE(wait, absl::ZeroDuration());
  EXPECT_LT(wait, most);
}

// Those of the authors' program. A seed of a failed simulation is worth nothing if they change.
TEST(SplitMix64Test, TheSequenceIsThePublishedOne) {
  SplitMix64 random(1'234'567);
  for (const uint64_t expected :
       {uint64_t{6'457'827'717'110'365'317U}, uint64_t{3'203'168'211'198'807'973U},
        uint64_t{9'817'491'932'198'370'423U}, uint64_t{4'593'380'528'125'082'431U},
        uint64_t{16'408'922'859'458'223'821U}}) {
    EXPECT_EQ(random.Next(), expected);
  }
}

TEST(SplitMix64Test, AFractionIsTheUpperBitsAndLessThanOne) {
  SplitMix64 fractions(1), numbers(1);
  double sum = 0;
  for (int i = 0; i < 10'000; ++i) {
    const double fraction = fractions.Fraction();
    ASSERT_EQ(fraction * 9007199254740992.0, static_cast<double>(numbers.Next() >> 11));  // 2^53
    ASSERT_GE(fraction, 0);
    ASSERT_LT(fraction, 1);
    sum += fraction;
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 0.02);
}

}  // namespace
}  // namespace sluice::internal
