#include "sluice/tools/wrap.h"

#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

TEST(WrapTest, HeaderExample) { EXPECT_EQ(Wrap("one two three", 8, 2), "one two\n  three"); }

TEST(WrapTest, AWordThatIsTooLongHasItsOwnLine) {
  EXPECT_EQ(Wrap("a incomprehensible b", 5, 1), "a\n incomprehensible\n b");
}

TEST(WrapTest, SpacesAreOne) { EXPECT_EQ(Wrap("  a   b ", 80, 0), "a b"); }

}  // namespace
}  // namespace sluice::tools
