#include "sluice/tools/flag_types.h"

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

using Connections = WholeNumber<1, 1'000'000>;
using Size = ByteCount<1, int64_t{1} << 30>;

// The value that `text` gives, or the error, as text.
template <typename Flag>
std::string Parse(const std::string& text, Flag flag) {
  std::string error;
  return AbslParseFlag(text, &flag, &error) ? AbslUnparseFlag(flag) : error;
}
std::string ParseConnections(const std::string& text) { return Parse(text, Connections(7)); }
std::string ParseSize(const std::string& text) { return Parse(text, Size(7)); }
std::string ParsePause(const std::string& text) { return Parse(text, Pause(absl::Seconds(7))); }
std::string ParseFrequency(const std::string& text) { return Parse(text, Frequency(7)); }
std::string ParseRate(const std::string& text) { return Parse(text, OrNone<Frequency>()); }
std::string ParseTimeout(const std::string& text) { return Parse(text, Timeout(absl::Seconds(7))); }

TEST(WholeNumberTest, AcceptsItsRange) {
  EXPECT_EQ(ParseConnections("1"), "1");
  EXPECT_EQ(ParseConnections("0050"), "50");
  EXPECT_EQ(ParseConnections("1000000"), "1000000");
}

TEST(WholeNumberTest, SaysWhatItAccepts) {
  for (const char* text :
       {"", "0", "1000001", "-1", "+1", " 1", "1 ", "1.5", "0x10", "ten", "99999999999999999999"}) {
    EXPECT_EQ(ParseConnections(text), "takes a whole number from 1 to 1000000") << text;
  }
}

TEST(ByteCountTest, AcceptsUnits) {
  EXPECT_EQ(ParseSize("1"), "1");
  EXPECT_EQ(ParseSize("1024"), "1024");
  EXPECT_EQ(ParseSize("1KiB"), "1024");
  EXPECT_EQ(ParseSize("16k"), "16KiB");
  EXPECT_EQ(ParseSize("3mib"), "3MiB");
  EXPECT_EQ(ParseSize("1G"), "1GiB");
}

TEST(ByteCountTest, SaysWhatItAccepts) {
  for (const char* text :
       {"", "0", "KiB", "1KB", "1 KiB", "-1", "2GiB", "9999999999GiB", "1.5MiB"}) {
    EXPECT_THAT(ParseSize(text), testing::StartsWith("takes a number of bytes from 1 to 1GiB"))
        << text;
  }
}

TEST(TimeoutTest, AcceptsPositiveDurations) {
  EXPECT_EQ(ParseTimeout("5s"), "5s");
  EXPECT_EQ(ParseTimeout("90s"), "1m30s");
  EXPECT_EQ(ParseTimeout("inf"), "inf");
}

TEST(TimeoutTest, SaysWhatItAccepts) {
  for (const char* text : {"", "0", "0s", "-1s", "-inf", "5", "soon"}) {
    EXPECT_THAT(ParseTimeout(text), testing::StartsWith("takes a positive duration")) << text;
  }
}

TEST(PauseTest, AcceptsDurationsFromZeroOnThatEnd) {
  EXPECT_EQ(ParsePause("0"), "0");
  EXPECT_EQ(ParsePause("0s"), "0");
  EXPECT_EQ(ParsePause("1.5s"), "1.5s");
  for (const char* text : {"", "-1s", "inf", "-inf", "5", "soon"}) {
    EXPECT_THAT(ParsePause(text), testing::StartsWith("takes a duration of 0 or more, such as"))
        << text;
  }
}

TEST(FrequencyTest, AcceptsItsRange) {
  for (const char* text : {"0.001", "0.5", "1", "20000", "1234567.25", "10000000"})
    EXPECT_EQ(ParseFrequency(text), text);
}

TEST(FrequencyTest, SaysWhatItAccepts) {
  for (const char* text : {"", "0", "0.0009", "-1", "inf", "nan", "1e3", "10000001", "many", "."}) {
    EXPECT_EQ(ParseFrequency(text), "takes a number from 0.001 to 10000000, such as 0.5 or 20000")
        << text;
  }
}

TEST(OrNoneTest, AcceptsNoneToo) {
  EXPECT_EQ(AbslUnparseFlag(OrNone<Frequency>()), "none");
  EXPECT_EQ(ParseRate("none"), "none");
  EXPECT_EQ(ParseRate("20"), "20");
  EXPECT_EQ(ParseRate("0"), "takes a number from 0.001 to 10000000, such as 0.5 or 20000, or none");
}

}  // namespace
}  // namespace sluice::tools
