#include "sluice/tools/message_pattern.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

TEST(MessagePatternTest, MessagesHaveTheirSize) {
  for (size_t size : {1, 64, 100'000}) {
    const MessagePattern pattern(size, 1);
    EXPECT_EQ(pattern.size(), size);
    for (uint64_t sequence = 0; sequence < 2 * MessagePattern::kWindows; ++sequence) {
      ASSERT_EQ(pattern.Message(3, sequence).size(), size);
    }
  }
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

TEST(MessagePatternTest, TheSeedDecidesTheContent) {
  const MessagePattern one(64, 1), same(64, 1), other(64, 2);
  const auto a = one.Message(0, 0), b = same.Message(0, 0), c = other.Message(0, 0);
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
  EXPECT_FALSE(std::equal(a.begin(), a.end(), c.begin()));
}

}  // namespace
}  // namespace sluice::tools
