#include "sluice/protocols/usp/header.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace sluice::usp {
namespace {

constexpr size_t kMaxFields = 8;

// "name=value;name=value" of a header, or what is wrong with it.
std::string Parsed(absl::string_view json) {
  // Of just the right size, so that a read behind its end shows.
  std::vector<uint8_t> bytes(json.begin(), json.end());
  bytes.shrink_to_fit();
  std::vector<HeaderField> fields;
  if (const char* wrong = ParseHeader(absl::MakeSpan(bytes), kMaxFields, fields)) return wrong;
  std::string text;
  for (const HeaderField& field : fields) {
    absl::StrAppend(&text, text.empty() ? "" : ";", field.name, "=", field.value);
  }
  return text;
}

std::string Written(const std::vector<HeaderField>& header) {
  std::string json;
  return AppendHeader(header, json) ? json : "refused";
}

TEST(HeaderTest, ReadsNamesAndValues) {
  EXPECT_EQ(Parsed(R"({"id":"7","room":"blue"})"), "id=7;room=blue");
  EXPECT_EQ(Parsed(R"({"":""})"), "=");
  EXPECT_EQ(Parsed("{}"), "");
}

TEST(HeaderTest, BlanksMayStandBetween) {
  EXPECT_EQ(Parsed(" {\t\"a\" :\r\n\"b\" , \"c\":\"d\" } "), "a=b;c=d");
}

TEST(HeaderTest, ReadsEscapes) {
  EXPECT_EQ(Parsed(R"({"a":"\"\\\/\b\f\n\r\t"})"), "a=\"\\/\b\f\n\r\t");
  EXPECT_EQ(Parsed(R"({"a":"\u003c\u00e9\u2028\ud83d\ude00\uFFFF"})"),
            "a=<\xC3\xA9\xE2\x80\xA8\xF0\x9F\x98\x80\xEF\xBF\xBF");
  EXPECT_EQ(Parsed(R"({"\u0061":"x\u0000y"})"), std::string("a=x\0y", 5));
}

// As the original sent it.
TEST(HeaderTest, ReadsWhatGoWrites) {
  EXPECT_EQ(Parsed(absl::HexStringToBytes(
                "7b22615c753030336362223a22785c225c5c5c75323032385c6e5c7530303031c3a9f09f9880222c22"
                "62223a22227d")),
            "a<b=x\"\\\xE2\x80\xA8\n\x01\xC3\xA9\xF0\x9F\x98\x80;b=");
}

TEST(HeaderTest, NamesWhatIsWrong) {
  const std::pair<absl::string_view, absl::string_view> cases[] = {
      {"", "is no JSON object"},
      {"null", "is no JSON object"},
      {"[]", "is no JSON object"},
      {"{", "has a name or a value that is no string"},
      {R"({a:"b"})", "has a name or a value that is no string"},
      {R"({"a":1})", "has a name or a value that is no string"},
      {R"({"a":null})", "has a name or a value that is no string"},
      {R"({"a":{"b":"c"}})", "has a name or a value that is no string"},
      {R"({"a":["b"]})", "has a name or a value that is no string"},
      {R"({"a"})", "has a name without a colon"},
      {R"({"a":)", "has a name or a value that is no string"},
      {R"({"a":"b")", "has no end, or something but a comma between two fields"},
      {R"({"a":"b" "c":"d"})", "has no end, or something but a comma between two fields"},
      {R"({"a":"b",})", "has a name or a value that is no string"},
      {R"({"a":"b"}})", "has something behind its JSON object"},
      {R"({"a":"b"}x)", "has something behind its JSON object"},
      {R"({"a":"b","a":"b"})", "has a name twice"},
      {R"({"a":"b","\u0061":"c"})", "has a name twice"},
      {R"({"a":"b)", "has a string without an end"},
      {R"({"a":"b\)", "has a string without an end"},
      {R"({"a":"b\"})", "has a string without an end"},
      {R"({"a":"\x"})", "has an escape that JSON does not know"},
      {R"({"a":"\u12"})", "has a \\u without four hexadecimal digits"},
      {R"({"a":"\u12)", "has a \\u without four hexadecimal digits"},
      {R"({"a":"\u12g4"})", "has a \\u without four hexadecimal digits"},
      {R"({"a":"\ud83d"})", "has half of a surrogate pair"},
      {R"({"a":"\ud83d\n"})", "has half of a surrogate pair"},
      {R"({"a":"\ud83d\u)", "has a \\u without four hexadecimal digits"},
      {R"({"a":"\ud83d\u0061"})", "has half of a surrogate pair"},
      {R"({"a":"\ud83d\ud83d"})", "has half of a surrogate pair"},
      {R"({"a":"\ude00\ud83d"})", "has half of a surrogate pair"},
      {"{\"a\":\"\n\"}", "has a control character in a string"},
      {"{\"a\":\"\xff\"}", "is not UTF-8"},
      {"{\"a\":\"\xc0\x80\"}", "is not UTF-8"},
      {"{\"a\":\"\xed\xa0\x80\"}", "is not UTF-8"},
      {"{\"a\":\"\xf4\x90\x80\x80\"}", "is not UTF-8"},
      {"{\"a\":\"\xe2\x82\"}", "is not UTF-8"},
      {"{\"a\":\"\xe2\x82", "is not UTF-8"},
  };
  for (const auto& [json, error] : cases) EXPECT_EQ(Parsed(json), error) << json;
}

TEST(HeaderTest, EveryTruncationIsAnError) {
  const std::string json = R"({"a":"\ud83d\ude00","b":"c"})";
  for (size_t size = 0; size < json.size(); ++size) {
    const std::string parsed = Parsed(json.substr(0, size));
    EXPECT_TRUE(parsed.substr(0, 3) == "has" || parsed.substr(0, 2) == "is") << parsed;
  }
}

TEST(HeaderTest, FieldsAreLimited) {
  std::string json = "{";
  for (size_t i = 0; i < kMaxFields; ++i) {
    absl::StrAppend(&json, i == 0 ? "" : ",", "\"", i, "\":\"\"");
  }
  EXPECT_EQ(Parsed(json + "}"), "0=;1=;2=;3=;4=;5=;6=;7=");
  EXPECT_EQ(Parsed(json + ",\"8\":\"\"}"), "has too many fields");
}

TEST(HeaderTest, WritesWhatItReads) {
  const std::vector<std::vector<HeaderField>> headers = {
      {},
      {{"id", "7"}},
      {{"b", "2"}, {"a", "1"}},
      {{"a<b", "x\"\\\n\x01\x1f\x7f\xC3\xA9\xF0\x9F\x98\x80"}, {"", ""}},
      {{absl::string_view("n\0m", 3), "v"}},
  };
  for (const std::vector<HeaderField>& header : headers) {
    std::string json = Written(header);
    std::vector<HeaderField> fields;
    EXPECT_EQ(ParseHeader(absl::MakeSpan(reinterpret_cast<uint8_t*>(json.data()), json.size()),
                          kMaxFields, fields),
              nullptr);
    EXPECT_EQ(fields, header);
  }
}

TEST(HeaderTest, WritesJson) {
  EXPECT_EQ(Written({{"id", "7"}, {"q", "a\"b\\c\n"}}), R"({"id":"7","q":"a\"b\\c\n"})");
}

// Else an echo of it could be refused as too long.
TEST(HeaderTest, WhatWasReadIsWrittenNoLonger) {
  const std::string json = R"({"\b\f\n\r\t":"\"\\\/\u0001\u000a"})";
  std::string bytes = json;
  std::vector<HeaderField> fields;
  ASSERT_EQ(ParseHeader(absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()),
                        kMaxFields, fields),
            nullptr);
  EXPECT_EQ(Written(fields), R"({"\b\f\n\r\t":"\"\\/\u0001\n"})");
}

TEST(HeaderTest, WritesNothingThatItWouldNotRead) {
  EXPECT_EQ(Written({{"a", "\xff"}}), "refused");
  EXPECT_EQ(Written({{"\xe2\x82", "a"}}), "refused");
  EXPECT_EQ(Written({{"a", "1"}, {"a", "2"}}), "refused");
}

TEST(HeaderTest, FindsAField) {
  const std::vector<HeaderField> header = {{"a", "1"}, {"b", ""}};
  EXPECT_EQ(FindField(header, "a"), "1");
  EXPECT_EQ(FindField(header, "b"), "");
  EXPECT_EQ(FindField(header, "c"), absl::nullopt);
}

}  // namespace
}  // namespace sluice::usp
