#include "sluice/tools/format.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

constexpr Terminal kUnicode = {.unicode = true};
constexpr Terminal kAscii = {};

TEST(FormatTest, CountsAreGroupedByThousands) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(123456), "123,456");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(18446744073709551615u), "18,446,744,073,709,551,615");
}

TEST(FormatTest, RatesHaveThreeDigits) {
  EXPECT_EQ(FormatRate(0), "0");
  EXPECT_EQ(FormatRate(0.5), "0.50");
  EXPECT_EQ(FormatRate(42.1), "42.1");
  EXPECT_EQ(FormatRate(999.4), "999");
  EXPECT_EQ(FormatRate(999.6), "1.00 k");
  EXPECT_EQ(FormatRate(246'913), "247 k");
  EXPECT_EQ(FormatRate(1.5e6), "1.50 M");
  EXPECT_EQ(FormatRate(2.25e12), "2250 G");
}

TEST(FormatTest, BytesHaveBinaryUnits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.00 KiB");
  EXPECT_EQ(FormatBytes(1536), "1.50 KiB");
  EXPECT_EQ(FormatBytes(3.0 * 1024 * 1024 * 1024), "3.00 GiB");
}

TEST(FormatTest, LatenciesSpanNanosecondsToSeconds) {
  EXPECT_EQ(FormatLatency(absl::ZeroDuration(), kUnicode), "0 ns");
  EXPECT_EQ(FormatLatency(absl::Nanoseconds(850), kUnicode), "850 ns");
  EXPECT_EQ(FormatLatency(absl::Nanoseconds(12'345), kUnicode), "12.3 µs");
  EXPECT_EQ(FormatLatency(absl::Nanoseconds(12'345), kAscii), "12.3 us");
  EXPECT_EQ(FormatLatency(absl::Nanoseconds(999'700), kAscii), "1.00 ms");
  EXPECT_EQ(FormatLatency(absl::Milliseconds(250), kAscii), "250 ms");
  EXPECT_EQ(FormatLatency(absl::Microseconds(999'900), kAscii), "1.00 s");
  EXPECT_EQ(FormatLatency(absl::Seconds(90), kAscii), "90.0 s");
}

TEST(FormatTest, DisplayWidthCountsCharacters) {
  EXPECT_EQ(DisplayWidth(""), 0u);
  EXPECT_EQ(DisplayWidth("12.3 us"), 7u);
  EXPECT_EQ(DisplayWidth("12.3 µs"), 7u);
  EXPECT_EQ(DisplayWidth("█▌"), 2u);
}

}  // namespace
}  // namespace sluice::tools
