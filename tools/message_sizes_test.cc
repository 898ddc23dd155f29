#include "sluice/tools/message_sizes.h"

#include <cstdint>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

std::string Parse(const std::string& text) {
  MessageSizes sizes(7);
  std::string error;
  return AbslParseFlag(text, &sizes, &error) ? AbslUnparseFlag(sizes) : error;
}

TEST(MessageSizesTest, HeaderExample) {
  const MessageSizes sizes = *MessageSizes::Parse("64:80,4KiB:15,64KiB:5");
  const double mean = sizes.mean();
  const size_t size = sizes.Of(/*seed=*/1, /*connection=*/2, /*sequence=*/0);
  EXPECT_EQ(mean, 3942.4);
  EXPECT_TRUE(size == 64 || size == 4096 || size == 65536) << size;
  EXPECT_EQ(sizes.smallest(), 64u);
  EXPECT_EQ(sizes.largest(), 65536u);
}

TEST(MessageSizesTest, OneSizeIsThatOfAll) {
  const MessageSizes sizes(1000);
  EXPECT_FALSE(sizes.mixed());
  EXPECT_EQ(sizes.mean(), 1000);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(sizes.Of(1, i, i), 1000u);
}

TEST(MessageSizesTest, EachHasItsShare) {
  const MessageSizes sizes = *MessageSizes::Parse("10:80,20:15,30:5");
  std::map<size_t, int> seen;
  for (uint64_t connection = 0; connection < 10; ++connection) {
    for (uint64_t sequence = 0; sequence < 10'000; ++sequence)
      ++seen[sizes.Of(1, connection, sequence)];
  }
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_NEAR(seen[10], 80'000, 1000);
  EXPECT_NEAR(seen[20], 15'000, 1000);
  EXPECT_NEAR(seen[30], 5'000, 500);
}

TEST(MessageSizesTest, TheSeedAndTheMessageDecide) {
  const MessageSizes sizes = *MessageSizes::Parse("10:1,20:1");
  int as_other_seed = 0;
  int as_other_connection = 0;
  for (uint64_t i = 0; i < 10'000; ++i) {
    EXPECT_EQ(sizes.Of(1, 2, i), sizes.Of(1, 2, i));
    if (sizes.Of(1, 2, i) == sizes.Of(2, 2, i)) ++as_other_seed;
    if (sizes.Of(1, 2, i) == sizes.Of(1, 3, i)) ++as_other_connection;
  }
  EXPECT_NEAR(as_other_seed, 5000, 300);
  EXPECT_NEAR(as_other_connection, 5000, 300);
}

TEST(MessageSizesTest, AcceptsWhatItShows) {
  for (const char* text : {"1", "1024", "1GiB", "64:80,4096:15,64KiB:5", "1:1000000,2:1"})
    EXPECT_EQ(Parse(text), text);
  EXPECT_EQ(Parse("64:3"), "64");
}

TEST(MessageSizesTest, SaysWhatItAccepts) {
  for (const char* text : {"", "0", "-1", "2GiB", "big"}) {
    EXPECT_THAT(Parse(text), HasSubstr("takes a number of bytes from 1 to 1GiB")) << text;
    EXPECT_THAT(Parse(text), HasSubstr("or several with weights, such as 64:80,")) << text;
  }
  EXPECT_THAT(Parse("64:80,0:15"), HasSubstr("of \"0:15\" the size takes a number of bytes from"));
  for (const char* text : {"64,65:1", "64:", "1:1,64:0", "64:1.5", "64:1000001", "64:1:2"})
    EXPECT_THAT(Parse(text), HasSubstr("the weight takes a whole number from 1 to 1000000"))
        << text;
  for (const char* text : {",", "64:1,", ":1"})
    EXPECT_THAT(Parse(text), HasSubstr("the size takes")) << text;
  EXPECT_THAT(Parse("1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1"),
              HasSubstr("of these there are 17"));
}

}  // namespace
}  // namespace sluice::tools
