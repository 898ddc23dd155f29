#include "sluice/core/internal/block.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "gtest/gtest.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/internal/pool.h"

namespace sluice {
namespace {

using internal::CountAllocations;
using internal::PoolAcquire;
using internal::PoolClass;
using internal::PooledBytes;
using internal::PoolRelease;
using internal::TrimPool;

constexpr size_t kPoolBound = 1024 * 1024;

class BlockTest : public testing::Test {
 protected:
  void SetUp() override { TrimPool(); }
  void TearDown() override { TrimPool(); }
};

using PoolTest = BlockTest;

TEST_F(BlockTest, HasAtLeastTheCapacityThatWasAskedFor) {
  for (size_t capacity : {0, 1, 8, 9, 24, 25, 999, 1'000, 1'001, 4'072, 4'073, 17'384, 17'385,
                          66'536, 66'537, 1'000'000}) {
    for (Block* block : {Block::New(capacity), Block::NewExact(capacity)}) {
      ASSERT_GE(block->capacity(), capacity);
      std::memset(block->storage(), 'x', block->capacity());
      EXPECT_TRUE(block->unique());
      EXPECT_TRUE(block->writable());
      EXPECT_EQ(block->footprint(), block->capacity() + 16);
      block->Unref();
    }
  }
}

TEST_F(BlockTest, WithAnEmptyPoolAnExactBlockWastesNoMoreThanMallocDoes) {
  for (size_t capacity = 0; capacity < 10'000; ++capacity) {
    TrimPool();
    BlockPtr block(Block::NewExact(capacity));
    ASSERT_LT(block->capacity(), capacity + 16);
  }
  EXPECT_LE(BlockPtr(Block::NewExact(3))->footprint(), 24u) << "32 with what malloc adds";
}

TEST_F(BlockTest, PooledSizesLeaveRoomAroundAPayload) {
  EXPECT_GE(BlockPtr(Block::New(16 * 1024))->capacity(), 16u * 1024 + 512);
  EXPECT_GE(BlockPtr(Block::New(64 * 1024))->capacity(), 64u * 1024 + 512);
  EXPECT_LT(BlockPtr(Block::New(16 * 1024 + 256 + 5))->capacity(), 20u * 1024) << "a TLS record";
}

TEST_F(BlockTest, GoesBackToThePoolLastInFirstOut) {
  Block* a = Block::New(4'000);
  Block* b = Block::New(4'000);
  a->Unref();
  b->Unref();
  EXPECT_EQ(Block::New(3'000), b);
  EXPECT_EQ(Block::New(2'000), a);
  a->Unref();
  b->Unref();
}

TEST_F(BlockTest, IsFreedWithItsLastReference) {
  const int64_t before = CountAllocations().live;
  Block* block = Block::New(100);
  block->Ref();
  EXPECT_FALSE(block->unique());
  EXPECT_FALSE(block->writable());
  block->Unref();
  EXPECT_TRUE(block->unique());
  EXPECT_EQ(CountAllocations().live, before + 1);
  block->Unref();
  EXPECT_EQ(CountAllocations().live, before);
}

TEST_F(PoolTest, KeepsNoMoreThanItsBound) {
  const int64_t before = CountAllocations().live;
  for (size_t capacity : {Block::kMinPooled, size_t{16'384}, Block::kMaxPooled}) {
    std::vector<BlockPtr> blocks;
    for (int i = 0; i < 300; ++i) blocks.emplace_back(Block::New(capacity));
  }
  {
    std::vector<void*> nodes;
    for (int i = 0; i < 5'000; ++i) nodes.push_back(PoolAcquire(PoolClass::kNode));
    for (void* node : nodes) PoolRelease(PoolClass::kNode, node);
  }
  EXPECT_GT(PooledBytes(), kPoolBound / 2);
  EXPECT_LE(PooledBytes(), kPoolBound);
  TrimPool();
  EXPECT_EQ(PooledBytes(), 0u);
  EXPECT_EQ(CountAllocations().live, before);
}

TEST_F(PoolTest, IsFullAgainAfterATrim) {
  for (int round = 0; round < 3; ++round) {
    TrimPool();
    std::vector<BlockPtr> blocks;
    for (int i = 0; i < 100; ++i) blocks.emplace_back(Block::New(4'000));
    blocks.clear();
    EXPECT_EQ(PooledBytes(), 64u * 4'088);
  }
}

TEST_F(PoolTest, MemoryReleasedOnAnotherThreadServesThatThread) {
  Block* block = Block::New(4'000);
  std::thread other([block] {
    block->Unref();
    EXPECT_EQ(PooledBytes(), 4'088u);
    BlockPtr again(Block::New(4'000));
    EXPECT_EQ(again.get(), block);
    EXPECT_EQ(PooledBytes(), 0u);
  });
  other.join();
  EXPECT_EQ(PooledBytes(), 0u);
}

TEST_F(PoolTest, GivesEverythingBackWhenTheThreadEnds) {
  const int64_t before = CountAllocations().live;
  std::thread other([] {
    std::vector<BlockPtr> blocks;
    for (int i = 0; i < 10; ++i) blocks.emplace_back(Block::New(4'000));
  });
  other.join();
  EXPECT_EQ(CountAllocations().live, before);
}

// A thread_local that was made before the pool's own is destroyed after it.
TEST_F(PoolTest, TakesMemoryBackFromWhatOutlivesIt) {
  struct Late {
    ~Late() { block.reset(); }
    BlockPtr block;
  };
  const int64_t before = CountAllocations().live;
  std::thread other([] {
    thread_local Late late;
    late.block.reset(Block::New(4'000));
    BlockPtr(Block::New(4'000)).reset();  // opens the pool
  });
  other.join();
  EXPECT_EQ(CountAllocations().live, before);
}

constexpr size_t kMiB = 1024 * 1024;

TEST_F(PoolTest, LargeMemoryServesAgain) {
  Block* block = Block::NewExact(kMiB);
  const int64_t before = CountAllocations().ever;
  for (int i = 0; i < 10; ++i) {
    block->Unref();
    ASSERT_EQ(Block::NewExact(kMiB), block);
  }
  block->Unref();
  EXPECT_EQ(Block::TryNewExact(kMiB - kMiB / 16), block) << "nor is a little less new";
  EXPECT_GE(block->capacity(), kMiB);
  EXPECT_EQ(CountAllocations().ever, before);
  block->Unref();
}

TEST_F(PoolTest, MediumMemoryServesAgainAndLeavesLargeOneInPeace) {
  BlockPtr(Block::NewExact(kMiB)).reset();
  for (size_t size : {1'500, 16'500, 60'000}) BlockPtr(Block::NewExact(size)).reset();
  const int64_t before = CountAllocations().ever;
  for (int i = 0; i < 10; ++i) {
    for (size_t size : {1'500, 16'500, 60'000})
      EXPECT_GE(BlockPtr(Block::NewExact(size))->capacity(), size);
  }
  EXPECT_EQ(BlockPtr(Block::NewExact(16'000))->capacity() / 100, 165u) << "an eighth more at most";
  EXPECT_EQ(CountAllocations().ever, before);
  {
    std::vector<BlockPtr> blocks;
    for (int i = 0; i < 100; ++i) blocks.emplace_back(Block::NewExact(1'500));
  }
  EXPECT_LT(PooledBytes(), kMiB + kMiB / 8 + 10 * 1'600);
  EXPECT_GE(PooledBytes(), kMiB + 8 * 1'500);
}

TEST_F(PoolTest, LargeMemoryServesOnlyWhoNeedsNearlyAllOfIt) {
  BlockPtr(Block::NewExact(kMiB)).reset();
  EXPECT_LT(BlockPtr(Block::NewExact(kMiB / 2))->capacity(), kMiB * 9 / 16);
  EXPECT_GE(BlockPtr(Block::NewExact(kMiB + 1000))->capacity(), kMiB + 1000);
}

TEST_F(PoolTest, KeepsNoMoreLargeMemoryThanItsBound) {
  const int64_t before = CountAllocations().live;
  for (size_t size : {size_t{70'000}, size_t{300'000}, kMiB, 3 * kMiB, 100 * kMiB}) {
    {
      std::vector<BlockPtr> blocks;
      for (int i = 0; i < 20; ++i) blocks.emplace_back(Block::NewExact(size));
    }
    EXPECT_LE(PooledBytes(), 4 * kMiB + kMiB / 2) << size;
    EXPECT_LE(CountAllocations().live, before + 8) << size;
  }
  TrimPool();
  EXPECT_EQ(PooledBytes(), 0u);
  EXPECT_EQ(CountAllocations().live, before);
}

TEST_F(PoolTest, TheOldestLargeMemoryMakesRoom) {
  for (size_t size : {kMiB, 2 * kMiB, 3 * kMiB}) BlockPtr(Block::NewExact(size)).reset();
  const int64_t before = CountAllocations().ever;
  BlockPtr newest(Block::NewExact(3 * kMiB));
  EXPECT_EQ(CountAllocations().ever, before);
  EXPECT_EQ(PooledBytes(), 0u) << "1 MiB and 2 MiB went";
}

TEST_F(PoolTest, LargeMemoryGoesBackWhenTheThreadEnds) {
  const int64_t before = CountAllocations().live;
  Block* block = Block::NewExact(kMiB);
  std::thread other([block] {
    block->Unref();
    EXPECT_GT(PooledBytes(), kMiB);
  });
  other.join();
  EXPECT_EQ(PooledBytes(), 0u);
  EXPECT_EQ(CountAllocations().live, before);
}

#if defined(ABSL_HAVE_ADDRESS_SANITIZER) && GTEST_HAS_DEATH_TEST
TEST_F(PoolTest, LargeMemoryIsPoisonedUnderAddressSanitizer) {
  Block* block = Block::NewExact(kMiB);
  uint8_t* storage = block->storage();
  storage[100] = 1;
  block->Unref();
  EXPECT_DEATH(storage[100] = 2, "use-after-poison");
}

TEST_F(PoolTest, PoolsArePoisonedUnderAddressSanitizer) {
  Block* block = Block::New(4'000);
  uint8_t* storage = block->storage();
  storage[100] = 1;
  block->Unref();
  EXPECT_DEATH(storage[100] = 2, "use-after-poison");
}
#endif

}  // namespace
}  // namespace sluice
