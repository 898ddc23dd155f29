#include "sluice/tools/line_splitter.h"

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class LineSplitterTest : public testing::Test {
 protected:
  bool Add(absl::string_view piece) {
    return splitter.Add(piece, [&](absl::string_view line) { lines.emplace_back(line); });
  }
  void End() {
    splitter.End([&](absl::string_view line) { lines.emplace_back(line); });
  }

  LineSplitter splitter{5};
  std::vector<std::string> lines;
};

TEST_F(LineSplitterTest, LinesAreTheSameHoweverTheyAreCut) {
  const std::string text = "one\n\nfive5\nlast";
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      lines.clear();
      EXPECT_TRUE(Add(text.substr(0, first)));
      EXPECT_TRUE(Add(text.substr(first, second - first)));
      EXPECT_TRUE(Add(text.substr(second)));
      End();
      EXPECT_THAT(lines, ElementsAre("one", "", "five5", "last"));
    }
  }
}

TEST_F(LineSplitterTest, ALastLineFeedBeginsNoLine) {
  EXPECT_TRUE(Add("one\n"));
  End();
  EXPECT_THAT(lines, ElementsAre("one"));
}

TEST_F(LineSplitterTest, ALineOverTheLimitIsRefused) {
  EXPECT_FALSE(Add("one\nsixsix\n"));
  EXPECT_THAT(lines, ElementsAre("one"));
}

TEST_F(LineSplitterTest, ALineOverTheLimitIsRefusedBeforeItEnds) {
  EXPECT_TRUE(Add("abc"));
  EXPECT_FALSE(Add("def"));
  EXPECT_THAT(lines, IsEmpty());
}

}  // namespace
}  // namespace sluice::tools
