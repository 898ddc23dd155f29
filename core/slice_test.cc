#include "sluice/core/slice.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/counting_new.h"

namespace sluice {
namespace {

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(SliceTest, HeaderExample) {
  std::vector<Buffer> queues(3);
  Slice message = Slice::Copy("tick 42");
  for (Buffer& queue : queues) queue.Append(message);
  for (const Buffer& queue : queues) {
    EXPECT_EQ(queue.ToString(), "tick 42");
    EXPECT_EQ(queue.front().data(), message.data());
  }
}

TEST(SliceTest, AnEmptySliceOwnsNothing) {
  static_assert(sizeof(Slice) == 24);
  const Slice slice;
  EXPECT_TRUE(slice.empty());
  EXPECT_EQ(slice.size(), 0u);
  EXPECT_TRUE(slice.span().empty());
  EXPECT_FALSE(slice.unique());
  EXPECT_TRUE(Slice::Copy("").empty());
  EXPECT_TRUE(Slice::Take("").empty());
}

TEST(SliceTest, CopyKeepsItsOwnBytes) {
  std::string text = "text";
  const Slice a = Slice::Copy(text);
  const Slice b = Slice::Copy(Bytes(text));
  text = "xxxx";
  EXPECT_EQ(a.AsStringView(), "text");
  EXPECT_EQ(b.AsStringView(), "text");
}

TEST(SliceTest, CopiesShareTheMemory) {
  Slice a = Slice::Copy("text");
  EXPECT_TRUE(a.unique());
  Slice b = a;
  EXPECT_EQ(a.data(), b.data());
  EXPECT_FALSE(a.unique());
  Slice c = std::move(b);
  EXPECT_TRUE(b.empty());  // NOLINT(bugprone-use-after-move): it is empty by contract
  EXPECT_FALSE(a.unique());
  c = Slice();
  EXPECT_TRUE(a.unique());
}

TEST(SliceTest, AssignsToItself) {
  Slice a = Slice::Copy("text");
  Slice& same = a;
  a = same;
  EXPECT_EQ(a.AsStringView(), "text");
  EXPECT_TRUE(a.unique());
}

TEST(SliceTest, TakesALongStringWithoutCopying) {
  std::string text(10'000, 'x');
  const char* data = text.data();
  const Slice slice = Slice::Take(std::move(text));
  EXPECT_EQ(slice.size(), 10'000u);
  EXPECT_EQ(slice.AsStringView().data(), data);
}

TEST(SliceTest, TakesAShortStringInOneAllocation) {
  std::string text(100, 'x');
  const int64_t before = internal::CountAllocations().ever;
  const Slice slice = Slice::Take(std::move(text));
  EXPECT_EQ(internal::CountAllocations().ever - before, 1);
  EXPECT_EQ(slice.AsStringView(), std::string(100, 'x'));
}

TEST(SliceTest, ReleasesExternalMemoryOnceWithTheLastSlice) {
  const std::string text = "somebody's bytes";
  int released = 0;
  {
    Slice part;
    {
      const Slice slice = Slice::External(Bytes(text), [&] { ++released; });
      EXPECT_EQ(static_cast<const void*>(slice.data()), text.data());
      part = slice.Subslice(11, 5);
      EXPECT_FALSE(part.unique());
    }
    EXPECT_EQ(part.AsStringView(), "bytes");
    EXPECT_TRUE(part.unique());
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

TEST(SliceTest, NothingIsWrittenBehindForeignBytes) {
  std::string text = "abc...";
  Buffer buffer;
  buffer.Append(Slice::External(Bytes(text).subspan(1, 2), [] {}));
  buffer.Append("!");
  buffer.Prepend("?");
  EXPECT_EQ(buffer.ToString(), "?bc!");
  EXPECT_EQ(text, "abc...");
}

TEST(SliceTest, StaticBytesCostNothing) {
  const int64_t before = internal::CountAllocations().ever;
  const Slice slice = Slice::Static("literal");
  const Slice part = slice.Subslice(0, 3);
  EXPECT_EQ(internal::CountAllocations().ever, before);
  EXPECT_EQ(part.AsStringView(), "lit");
  EXPECT_FALSE(slice.unique());
}

TEST(SliceTest, ASubsliceKeepsTheWholeAlive) {
  Slice part;
  {
    const Slice whole = Slice::Copy("0123456789");
    part = whole.Subslice(3, 4);
    EXPECT_EQ(part.data(), whole.data() + 3);
  }
  EXPECT_EQ(part.AsStringView(), "3456");
  EXPECT_EQ(part.Subslice(4, 0).size(), 0u);
  EXPECT_EQ(part.Subslice(0, 4).AsStringView(), "3456");
}

TEST(SliceTest, SharesABlock) {
  BlockPtr block(Block::New(100));
  std::memcpy(block->storage(), "received", 8);
  Slice slice = Slice::FromBlock(*block, block->storage() + 2, 3);
  EXPECT_EQ(slice.AsStringView(), "cei");
  EXPECT_FALSE(block->unique());
  block.reset();
  EXPECT_TRUE(slice.unique());
  EXPECT_EQ(slice.AsStringView(), "cei");
}

TEST(SliceTest, MayBeDroppedOnAnyThread) {
  const int64_t before = internal::CountAllocations().live;
  for (int round = 0; round < 100; ++round) {
    int released = 0;
    std::string text(50, 'x');
    {
      Slice slice = Slice::External(Bytes(text), [&] { ++released; });
      std::vector<std::thread> threads;
      for (int i = 0; i < 3; ++i) {
        threads.emplace_back([copy = slice] { EXPECT_EQ(copy.size(), 50u); });
      }
      slice = Slice();
      for (std::thread& thread : threads) thread.join();
    }
    EXPECT_EQ(released, 1);
  }
  EXPECT_EQ(internal::CountAllocations().live, before);
}

#if GTEST_HAS_DEATH_TEST
TEST(SliceDeathTest, ASubsliceBeyondTheEndIsABug) {
  const Slice slice = Slice::Static("abc");
  EXPECT_DEATH(slice.Subslice(2, 2), "check failed");
  EXPECT_DEATH(slice.Subslice(4, 0), "check failed");
  EXPECT_DEATH(slice.Subslice(1, static_cast<size_t>(-1)), "check failed");
}
#endif

}  // namespace
}  // namespace sluice
