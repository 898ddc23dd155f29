#include "sluice/tools/json.h"

#include <cstdint>
#include <limits>
#include <optional>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

TEST(JsonObjectTest, HeaderExample) {
  JsonObject latency;
  latency.Add("p50", int64_t{12});
  JsonObject result;
  result.Add("url", "ws://example/").Add("ok", true).Add("latency_ns", latency);
  EXPECT_EQ(result.ToString(), R"({"url":"ws://example/","ok":true,"latency_ns":{"p50":12}})");
}

TEST(JsonObjectTest, EmptyIsAnObject) { EXPECT_EQ(JsonObject().ToString(), "{}"); }

TEST(JsonObjectTest, NumbersAreExact) {
  JsonObject object;
  object.Add("u", std::numeric_limits<uint64_t>::max())
      .Add("i", std::numeric_limits<int64_t>::min());
  object.Add("d", 0.25).Add("big", 1e300).Add("inf", std::numeric_limits<double>::infinity());
  EXPECT_EQ(
      object.ToString(),
      R"({"u":18446744073709551615,"i":-9223372036854775808,"d":0.25,"big":1e+300,"inf":null})");
}

TEST(JsonObjectTest, NoneIsNull) {
  JsonObject object;
  object.Add("a", std::optional<double>(0.5)).Add("b", std::optional<bool>());
  EXPECT_EQ(object.ToString(), R"({"a":0.5,"b":null})");
}

TEST(JsonObjectTest, StringsAreEscaped) {
  JsonObject object;
  object.Add("a\"b", "c\\d\n\x1b\x7f µ");
  EXPECT_EQ(object.ToString(), "{\"a\\\"b\":\"c\\\\d\\u000a\\u001b\\u007f µ\"}");
}

TEST(JsonObjectTest, WhatIsNotUtf8IsStillValidJson) {
  JsonObject object;
  object.Add("s", "\xff\xc3 \xed\xa0\x80");
  EXPECT_EQ(object.ToString(), R"({"s":"\u00ff\u00c3 \u00ed\u00a0\u0080"})");
}

}  // namespace
}  // namespace sluice::tools
