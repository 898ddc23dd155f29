#include "sluice/core/version.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(VersionTest, HasThreeNumericParts) {
  const std::vector<std::string> parts = absl::StrSplit(kVersion, '.');
  ASSERT_EQ(parts.size(), 3u);
  for (const std::string& part : parts) {
    EXPECT_THAT(part, testing::MatchesRegex("[0-9]+"));
  }
}

}  // namespace
}  // namespace sluice
