#include "sluice/tools/printable.h"

#include <string>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

TEST(PrintableTest, TextStaysAsItIs) {
  for (const char* text : {"", "hello", "tab\there", "Grüße, 世界 😀", "back\\slash"}) {
    EXPECT_EQ(PrintableLine(text), text);
    EXPECT_TRUE(IsUtf8(text));
  }
}

TEST(PrintableTest, ControlCharactersAreEscaped) {
  EXPECT_EQ(PrintableLine("a\x1b[2Jb\x07\x7f"), "a\\x1b[2Jb\\x07\\x7f");
  EXPECT_EQ(PrintableLine("two\r\nlines"), "two\\r\\nlines");
  EXPECT_EQ(PrintableLine(absl::string_view("\0x", 2)), "\\x00x");
  // U+009B is a terminal's "control sequence introducer" too.
  EXPECT_EQ(PrintableLine("\xc2\x9b\x32J"), "\\xc2\\x9b2J");
  EXPECT_EQ(PrintableLine("\xc2\xa0"), "\xc2\xa0");
}

TEST(PrintableTest, WhatIsNotUtf8IsEscaped) {
  EXPECT_EQ(PrintableLine("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(PrintableLine("\xc3("), "\\xc3(");
  EXPECT_EQ(PrintableLine("cut \xe4\xb8"), "cut \\xe4\\xb8");
  for (const char* text : {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                           "\xf4\x90\x80\x80", "\x80"}) {
    EXPECT_FALSE(IsUtf8(text));
  }
}

TEST(PrintableTest, AFlowKeepsItsLines) {
  PrintableFlow flow;
  EXPECT_EQ(flow.Add("one\r\ntwo\x1b"), "one\r\ntwo\\x1b");
  EXPECT_EQ(flow.End(), "");
}

TEST(PrintableTest, AFlowIsTheSameHoweverItIsCut) {
  const std::string text = "a\xe4\xb8\x96 \xf0\x9f\x98\x80 \xff \xc3( \xe4\xb8\x1b end \xe4\xb8";
  PrintableFlow whole;
  std::string expected = whole.Add(text);
  expected += whole.End();
  EXPECT_EQ(expected, "a世 😀 \\xff \\xc3( \\xe4\\xb8\\x1b end \\xe4\\xb8");
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      PrintableFlow flow;
      std::string out = flow.Add(text.substr(0, first));
      out += flow.Add(text.substr(first, second - first));
      out += flow.Add(text.substr(second));
      out += flow.End();
      EXPECT_EQ(out, expected) << first << " " << second;
    }
  }
}

}  // namespace
}  // namespace sluice::tools
