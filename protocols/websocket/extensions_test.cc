#include "sluice/protocols/websocket/extensions.h"

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace sluice::websocket {
namespace {

// What was read, written again.
std::string Again(absl::string_view header) {
  const auto extensions = ParseExtensions(header);
  if (!extensions.has_value()) return "malformed";
  std::vector<std::string> texts;
  for (const Extension& extension : *extensions) texts.push_back(FormatExtension(extension));
  return absl::StrJoin(texts, " | ");
}

TEST(Extensions, AreReadWithTheirParameters) {
  EXPECT_EQ(Again("permessage-deflate"), "permessage-deflate");
  EXPECT_EQ(Again("a, b;c,  d ; e=1;f=\"2\" "), "a | b; c | d; e=1; f=2");
  EXPECT_EQ(Again("foo; bar=\"ba\\z\""), "foo; bar=baz");
  EXPECT_EQ(Again("x\t;\ty\t=\tz"), "x; y=z");
  EXPECT_FALSE(ParseExtensions("a;b")->front().parameters.front().value.has_value());
  EXPECT_EQ(ParseExtensions("a;b=c")->front().parameters.front().value, "c");
}

TEST(Extensions, ThatAreMalformedAreNone) {
  for (const absl::string_view header :
       {"",        " ",    ",",          "a,",    ",a",      "a,,b",     "a;",          "a;;b",
        "a;=b",    "a;b=", "a b",        "a;b c", "a;b=\"c", "a;b=\"\"", "a;b=\"c d\"", "a;b=\"c\\",
        "a;b=c=d", "a=b",  "a;b=\"c\"d", "(a)"}) {
    EXPECT_EQ(Again(header), "malformed") << header;
  }
}

}  // namespace
}  // namespace sluice::websocket
