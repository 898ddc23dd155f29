#include "sluice/tools/resp_text.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/resp/reply_codec.h"
#include "sluice/protocols/resp/value.h"
#include "sluice/tools/codec_text.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Typed(absl::string_view line) {
  const absl::StatusOr<RespWords> words = RespText().Parse(Client::Kind::kText, AsBytes(line));
  EXPECT_TRUE(words.ok()) << words.status();
  return words.ok() ? words->words : std::vector<std::string>();
}

std::string Shown(std::string bytes) {
  resp::ReplyCodec codec;
  resp::Value value;
  EXPECT_EQ(
      codec.Decode(absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()), value),
      DecodeResult::Message(bytes.size()));
  return RespText().Show(value);
}

TEST(RespTextTest, ALineIsACommand) {
  EXPECT_THAT(Typed("GET key"), ElementsAre("GET", "key"));
  EXPECT_THAT(Typed("SET \"a key\" 'it\\'s' \"\\x41\""), ElementsAre("SET", "a key", "it's", "A"));
  EXPECT_THAT(Typed("*1 x"), ElementsAre("*1", "x"));
  EXPECT_THAT(Typed("  "), IsEmpty());
  EXPECT_EQ(RespText().Parse(Client::Kind::kText, AsBytes("SET \"a")).status(),
            absl::InvalidArgumentError("unbalanced quotes in an inline command"));
}

TEST(RespTextTest, BytesAreEchoed) {
  const absl::StatusOr<RespWords> words =
      RespText().Parse(Client::Kind::kBinary, AsBytes("a \"\xff"));
  ASSERT_TRUE(words.ok());
  EXPECT_THAT(words->words, ElementsAre("ECHO", "a \"\xff"));
}

TEST(RespTextTest, RepliesAreReadable) {
  EXPECT_EQ(Shown("+OK\r\n"), "OK");
  EXPECT_EQ(Shown("$3\r\na\nb\r\n"), "a\nb");
  EXPECT_EQ(Shown("=6\r\ntxt:hi\r\n"), "hi");
  EXPECT_EQ(Shown("-ERR no\r\n"), "(error) ERR no");
  EXPECT_EQ(Shown(":5\r\n"), "(integer) 5");
  EXPECT_EQ(Shown(",1.5\r\n"), "(double) 1.5");
  EXPECT_EQ(Shown("(12345678901234567890\r\n"), "(big number) 12345678901234567890");
  EXPECT_EQ(Shown("#t\r\n"), "(true)");
  EXPECT_EQ(Shown("$-1\r\n"), "(nil)");
  EXPECT_EQ(Shown("*-1\r\n"), "(nil)");
  EXPECT_EQ(Shown("*6\r\n$2\r\na\"\r\n:1\r\n_\r\n,0.5\r\n-ERR x\r\n*0\r\n"),
            "[\"a\\\"\", 1, (nil), 0.5, (error) ERR x, []]");
  EXPECT_EQ(Shown("%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n#f\r\n"), "{\"a\": 1, \"b\": ~[(false)]}");
  EXPECT_EQ(Shown(">1\r\n+message\r\n"), ">[\"message\"]");
  EXPECT_EQ(Shown("|1\r\n+ttl\r\n:1\r\n+v\r\n"), "|{\"ttl\": 1} v");
}

}  // namespace
}  // namespace sluice::tools
