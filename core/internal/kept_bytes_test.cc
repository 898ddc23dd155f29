#include "sluice/core/internal/kept_bytes.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/internal/block.h"

namespace sluice::internal {
namespace {

void Keep(std::unique_ptr<KeptBytes>& kept, absl::string_view bytes) {
  std::memcpy(KeptBytes::Extend(kept, bytes.size()), bytes.data(), bytes.size());
}

std::string Text(KeptBytes& kept) {
  const absl::Span<uint8_t> bytes = kept.bytes();
  return std::string(bytes.begin(), bytes.end());
}

TEST(KeptBytesTest, KeepsThemInTheirOrder) {
  std::unique_ptr<KeptBytes> kept;
  Keep(kept, "abc");
  EXPECT_EQ(Text(*kept), "abc");
  Keep(kept, "defgh");
  EXPECT_EQ(Text(*kept), "abcdefgh");
}

TEST(KeptBytesTest, WhatWasRemovedIsGoneWhenMoreIsKept) {
  std::unique_ptr<KeptBytes> kept;
  Keep(kept, "abcdef");
  kept->RemovePrefix(2);
  EXPECT_EQ(Text(*kept), "cdef");
  Keep(kept, "gh");
  EXPECT_EQ(Text(*kept), "cdefgh");
  kept->RemovePrefix(6);
  EXPECT_TRUE(kept->bytes().empty());
}

TEST(KeptBytesTest, LieInTheirBlock) {
  std::unique_ptr<KeptBytes> kept;
  Keep(kept, "abc");
  kept->RemovePrefix(1);
  EXPECT_EQ(kept->bytes().data(), kept->block().storage() + 1);
}

}  // namespace
}  // namespace sluice::internal
