#include "sluice/tools/message_pattern.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/tools/message_sizes.h"

namespace sluice::tools {
namespace {

TEST(MessagePatternTest, MessagesHaveTheirSize) {
  for (size_t size : {1, 64, 100'000}) {
    const MessagePattern pattern(size, 1);
    for (uint64_t sequence = 0; sequence < 2 * MessagePattern::kWindows; ++sequence) {
      ASSERT_EQ(pattern.Message(3, sequence).size(), size);
    }
  }
}

TEST(MessagePatternTest, MessagesOfMixedSizesHaveTheirs) {
  const MessagePattern pattern(*MessageSizes::Parse("10:1,2000:1"), 1);
  int large = 0;
  for (uint64_t sequence = 0; sequence < 1000; ++sequence) {
    const size_t size = pattern.Message(3, sequence).size();
    ASSERT_TRUE(size == 10 || size == 2000);
    EXPECT_EQ(size, pattern.SizeOf(3, sequence));
    if (size == 2000) ++large;
  }
  EXPECT_NEAR(large, 500, 100);
}

TEST(MessagePatternTest, NeighboursInSequenceDiffer) {
  const MessagePattern pattern(16, 1);
  std::set<const uint8_t*> windows;
  for (uint64_t sequence = 1000; sequence < 1000 + MessagePattern::kWindows; ++sequence) {
    windows.insert(pattern.Message(5, sequence).data());
    const auto a = pattern.Message(5, sequence), b = pattern.Message(5, sequence + 1);
    EXPECT_FALSE(std::equal(a.begin(), a.end(), b.begin()));
  }
  EXPECT_EQ(windows.size(), MessagePattern::kWindows);
}

TEST(MessagePatternTest, ConnectionsDiffer) {
  const MessagePattern pattern(16, 1);
  EXPECT_NE(pattern.Message(1, 0).data(), pattern.Message(2, 0).data());
}

TEST(MessagePatternTest, TextIsOneLineOfAsciiThatCompressesToLessThanHalf) {
  const MessagePattern text(1024, 1, MessagePattern::kText), noise(1024, 1);
  const auto deflate = *websocket::Deflate::Create({});
  for (uint64_t sequence = 0; sequence < 1000; ++sequence) {
    const absl::Span<const uint8_t> message = text.Message(3, sequence);
    ASSERT_TRUE(std::all_of(message.begin(), message.end(), absl::ascii_isprint));
    const size_t compressed = deflate->CompressAlone(message).size();
    ASSERT_GT(compressed, 0u);
    ASSERT_LT(compressed, 512u);
    ASSERT_TRUE(deflate->CompressAlone(noise.Message(3, sequence)).empty());
    const absl::Span<const uint8_t> next = text.Message(3, sequence + 1);
    ASSERT_FALSE(std::equal(message.begin(), message.end(), next.begin()));
  }
}

TEST(MessagePatternTest, TheSeedDecidesTheContent) {
  const MessagePattern one(64, 1), same(64, 1), other(64, 2);
  const auto a = one.Message(0, 0), b = same.Message(0, 0), c = other.Message(0, 0);
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
  EXPECT_FALSE(std::equal(a.begin(), a.end(), c.begin()));
}

}  // namespace
}  // namespace sluice::tools
