#include "sluice/tools/latency_picture.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;
using testing::SizeIs;

constexpr Terminal kAscii = {.columns = 80};
constexpr Terminal kUnicode = {.unicode = true, .columns = 80};

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

// 90% at 100 us, 9% at 200 us, 1% at 1 ms.
Histogram ThreePeaks() {
  Histogram histogram;
  for (int i = 0; i < 9000; ++i) histogram.Record(absl::Microseconds(105));
  for (int i = 0; i < 900; ++i) histogram.Record(absl::Microseconds(205));
  for (int i = 0; i < 100; ++i) histogram.Record(absl::Microseconds(1010));
  return histogram;
}

TEST(LatencyPictureTest, EmptyHistogramHasNone) {
  EXPECT_EQ(DistributionPicture(Histogram(), kAscii), "");
  EXPECT_EQ(PercentilePicture(Histogram(), kAscii), "");
}

TEST(LatencyPictureTest, SharesAddUpAndTheLongestBarFillsTheWidth) {
  const std::vector<std::string> lines = Lines(DistributionPicture(ThreePeaks(), kAscii));
  EXPECT_THAT(lines, Contains(AllOf(HasSubstr("100 us - "), HasSubstr("####################"),
                                    EndsWith(" 90.00%"))));
  EXPECT_THAT(lines, Contains(EndsWith(" 9.00%")));
  EXPECT_THAT(lines, Contains(EndsWith(" 1.00%")));
  for (const std::string& line : lines) EXPECT_LE(line.size(), 80u) << line;
}

TEST(LatencyPictureTest, AWideSpreadStillFitsAScreen) {
  Histogram histogram;
  for (int64_t value = 1; value < int64_t{1} << 43; value *= 2) {
    for (int i = 0; i < 100; ++i) histogram.RecordNanoseconds(value);
  }
  EXPECT_LE(Lines(DistributionPicture(histogram, kAscii)).size(), 16u);
}

TEST(LatencyPictureTest, OutliersHaveBarsOfTheirOwn) {
  Histogram histogram;
  histogram.Record(absl::Microseconds(1));
  for (int i = 0; i < 100'000; ++i) histogram.Record(absl::Microseconds(100));
  histogram.Record(absl::Seconds(3));
  const std::vector<std::string> lines = Lines(DistributionPicture(histogram, kAscii));
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_THAT(lines[0], AllOf(HasSubstr("below "), HasSubstr("#"), EndsWith("<0.01%")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr(" or more"), HasSubstr("#"), EndsWith("<0.01%")));
}

TEST(LatencyPictureTest, ExtremeValuesAreDrawn) {
  for (int64_t value : {int64_t{0}, int64_t{1}, int64_t{1} << 43, int64_t{1} << 60}) {
    Histogram histogram;
    histogram.RecordNanoseconds(value);
    EXPECT_THAT(Lines(DistributionPicture(histogram, kUnicode)), Contains(EndsWith("100.00%")))
        << value;
    EXPECT_THAT(Lines(PercentilePicture(histogram, kUnicode)), SizeIs(2)) << value;
  }
}

TEST(LatencyPictureTest, PercentilesRiseToTheMaximum) {
  const std::vector<std::string> lines = Lines(PercentilePicture(ThreePeaks(), kAscii));
  ASSERT_THAT(lines, SizeIs(6));
  EXPECT_THAT(lines[0], AllOf(HasSubstr("p50"), EndsWith("105 us")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr("p99"), EndsWith("205 us")));
  EXPECT_THAT(lines[5], AllOf(HasSubstr("max"), EndsWith("1.01 ms")));
  for (size_t i = 1; i < lines.size(); ++i) EXPECT_GE(lines[i].find('o'), lines[i - 1].find('o'));
  for (const std::string& line : lines) EXPECT_LE(line.size(), 80u) << line;
}

TEST(LatencyPictureTest, FewValuesHaveNoFarPercentiles) {
  Histogram histogram;
  for (int i = 0; i < 99; ++i) histogram.Record(absl::Microseconds(i + 1));
  EXPECT_THAT(PercentilePicture(histogram, kAscii), testing::Not(HasSubstr("p99")));
}

TEST(LatencyPictureTest, AsciiHasNoOtherBytesAndUnicodeHasBlocks) {
  const Histogram histogram = ThreePeaks();
  for (char c : DistributionPicture(histogram, kAscii) + PercentilePicture(histogram, kAscii)) {
    EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~')) << static_cast<int>(c);
  }
  EXPECT_THAT(DistributionPicture(histogram, kUnicode), HasSubstr("█"));
  EXPECT_THAT(PercentilePicture(histogram, kUnicode), HasSubstr("●"));
}

}  // namespace
}  // namespace sluice::tools
