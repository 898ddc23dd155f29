#include "sluice/core/internal/received_buffers.h"

#include <cstring>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/internal/io_uring_ring.h"
#include "sluice/core/internal/provided_buffers.h"

namespace sluice::internal {
namespace {

std::string Text(absl::Span<const uint8_t> bytes) {
  return std::string(bytes.begin(), bytes.end());
}

// A pool of eight buffers of four bytes, which this test fills in place of the kernel.
class ReceivedBuffersTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<IoUringRing>> ring = IoUringRing::Create({});
    if (absl::IsUnimplemented(ring.status()) || absl::IsPermissionDenied(ring.status()))
      GTEST_SKIP() << ring.status();
    ASSERT_TRUE(ring.ok()) << ring.status();
    ring_ = *std::move(ring);
    ASSERT_TRUE(pool_.Register(*ring_).ok());
  }

  void Fill(uint16_t buffer, absl::string_view bytes, ReceivedBuffers::List& list) {
    pool_.Take(buffer);
    std::memcpy(pool_.data(buffer), bytes.data(), bytes.size());
    received_.Append(list, buffer, static_cast<uint32_t>(bytes.size()));
  }
  std::string TakeRun(ReceivedBuffers::List& list) {
    const ReceivedBuffers::Run run = received_.TakeRun(list);
    const std::string text = Text(run.bytes);
    received_.Give(run);
    return text;
  }
  std::string Copy(ReceivedBuffers::List& list, size_t size) {
    std::string space(size, '\0');
    space.resize(received_.Copy(list, {reinterpret_cast<uint8_t*>(space.data()), size}));
    return space;
  }

  ProvidedBuffers pool_{{.count = 8, .bytes = 4}};
  std::unique_ptr<IoUringRing> ring_;
  ReceivedBuffers received_{pool_};
  ReceivedBuffers::List list_;
};

TEST_F(ReceivedBuffersTest, HeaderExample) {
  const uint16_t buffer = 3;
  pool_.Take(buffer);
  std::memcpy(pool_.data(buffer), "abc", 3);
  received_.Append(list_, buffer, 3);
  EXPECT_FALSE(list_.empty());
  const ReceivedBuffers::Run run = received_.TakeRun(list_);
  EXPECT_EQ(Text(run.bytes), "abc");
  EXPECT_EQ(run.bytes.data(), pool_.data(buffer)) << "no copy";
  EXPECT_TRUE(list_.empty());
  EXPECT_EQ(pool_.available(), 7u) << "it is ours until Give";
  received_.Give(run);
  EXPECT_EQ(pool_.available(), 8u);
}

TEST_F(ReceivedBuffersTest, FullBuffersSideBySideAreOnePiece) {
  Fill(2, "abcd", list_);
  Fill(3, "efgh", list_);
  Fill(4, "ij", list_);
  EXPECT_EQ(TakeRun(list_), "abcdefghij");
  EXPECT_TRUE(list_.empty());
  EXPECT_EQ(pool_.available(), 8u);
}

TEST_F(ReceivedBuffersTest, APieceEndsWhereABufferWasNotFull) {
  Fill(2, "abc", list_);
  Fill(3, "defg", list_);
  EXPECT_EQ(TakeRun(list_), "abc");
  EXPECT_EQ(TakeRun(list_), "defg");
  EXPECT_TRUE(list_.empty());
}

TEST_F(ReceivedBuffersTest, APieceEndsWhereTheNextBufferIsElsewhere) {
  Fill(7, "abcd", list_);
  Fill(0, "efgh", list_);
  Fill(2, "ijkl", list_);
  for (const char* const expected : {"abcd", "efgh", "ijkl"}) EXPECT_EQ(TakeRun(list_), expected);
}

TEST_F(ReceivedBuffersTest, ListsAreApart) {
  ReceivedBuffers::List other;
  Fill(0, "abcd", list_);
  Fill(1, "1234", other);
  Fill(2, "efgh", list_);
  EXPECT_EQ(received_.BytesIn(list_), 8u);
  EXPECT_EQ(received_.BytesIn(other), 4u);
  received_.Drop(list_);
  EXPECT_TRUE(list_.empty());
  EXPECT_EQ(pool_.available(), 7u);
  EXPECT_EQ(TakeRun(other), "1234");
}

TEST_F(ReceivedBuffersTest, CopiesWhatFitsAndKeepsTheRest) {
  Fill(0, "abcd", list_);
  Fill(1, "efgh", list_);
  EXPECT_EQ(Copy(list_, 3), "abc");
  EXPECT_EQ(pool_.available(), 6u) << "a byte of the first is left";
  EXPECT_EQ(Copy(list_, 2), "de");
  EXPECT_EQ(pool_.available(), 7u);
  EXPECT_EQ(received_.BytesIn(list_), 3u);
  EXPECT_EQ(Copy(list_, 10), "fgh");
  EXPECT_TRUE(list_.empty());
  EXPECT_EQ(pool_.available(), 8u);
}

TEST_F(ReceivedBuffersTest, WhatACopyHasLeftIsInOnePieceWithTheNext) {
  Fill(0, "abcd", list_);
  Fill(1, "efgh", list_);
  EXPECT_EQ(Copy(list_, 1), "a");
  EXPECT_EQ(TakeRun(list_), "bcdefgh");
}

}  // namespace
}  // namespace sluice::internal
