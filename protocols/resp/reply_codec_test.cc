#include "sluice/protocols/resp/reply_codec.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace sluice::resp {
namespace {

using ::testing::ElementsAre;

static_assert(EncoderOf<ReplyCodec, Arguments>);
static_assert(EncoderOf<ReplyCodec, Command>);
static_assert(EncoderOf<ReplyCodec, Value>);

ReplyCodec Make(const ReplyOptions& options) {
  absl::StatusOr<ReplyCodec> codec = ReplyCodec::Create(options);
  EXPECT_TRUE(codec.ok()) << codec.status();
  return codec.ok() ? *codec : ReplyCodec();
}

// The limits of the tests: small.
ReplyCodec Small() {
  return Make({.max_bulk_bytes = 100, .max_values = 50, .max_depth = 5, .max_frame_bytes = 1000});
}

// Expects one message, however the bytes are cut, and looks at it.
void Check(absl::string_view bytes, const std::function<void(const Value&)>& check) {
  codec_testing::DecodeEveryWay(ReplyCodec(), bytes);
  codec_testing::Feeder<ReplyCodec> feeder((ReplyCodec()));
  int messages = 0;
  feeder.set_on_message([&](const Value& value) {
    ++messages;
    check(value);
  });
  feeder.Feed(bytes);
  EXPECT_EQ(feeder.codec().status(), absl::OkStatus()) << bytes;
  EXPECT_EQ(messages, 1) << bytes;
}

// A message in words, for comparing: kinds, and what they hold.
std::string Show(const Value& value) {
  std::string text;
  if (value.has_attributes()) absl::StrAppend(&text, Show(value.attributes()), " ");
  const auto children = [&](absl::string_view name) {
    absl::StrAppend(&text, name, "(");
    const char* separator = "";
    for (const Value& child : value) {
      absl::StrAppend(&text, separator, Show(child));
      separator = " ";
    }
    return text + ")";
  };
  switch (value.kind()) {
    case Kind::kNull:
      return text + "null";
    case Kind::kNullArray:
      return text + "null-array";
    case Kind::kSimpleString:
      return absl::StrCat(text, "simple:", value.string());
    case Kind::kError:
      return absl::StrCat(text, "error:", value.string());
    case Kind::kInteger:
      return absl::StrCat(text, value.integer());
    case Kind::kBulkString:
      return absl::StrCat(text, "'", value.string(), "'");
    case Kind::kBoolean:
      return absl::StrCat(text, value.boolean() ? "true" : "false");
    case Kind::kDouble:
      return absl::StrCat(text, "double:", value.number());
    case Kind::kBigNumber:
      return absl::StrCat(text, "big:", value.string());
    case Kind::kBulkError:
      return absl::StrCat(text, "bulk-error:", value.string());
    case Kind::kVerbatim:
      return absl::StrCat(text, value.format(), ":", value.string());
    case Kind::kArray:
      return children("array");
    case Kind::kMap:
      return children("map");
    case Kind::kSet:
      return children("set");
    case Kind::kPush:
      return children("push");
    case Kind::kAttribute:
      return children("attributes");
  }
  return "?";
}

std::string Shown(absl::string_view bytes) {
  std::string shown;
  Check(bytes, [&](const Value& value) { shown = Show(value); });
  return shown;
}

absl::Status StatusOf(absl::string_view bytes, const ReplyCodec& codec = Small()) {
  return codec_testing::DecodeEveryWay(codec, bytes).status;
}

ReplyError ErrorOf(absl::string_view bytes, const ReplyCodec& codec = Small()) {
  codec_testing::DecodeEveryWay(codec, bytes);
  codec_testing::Feeder<ReplyCodec> feeder(codec);
  feeder.Feed(bytes);
  return feeder.codec().error();
}

absl::Span<uint8_t> AsSpan(std::string& bytes) {
  return absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
}

TEST(ReplyCodecTest, HeaderExample) {
  std::string bytes = "*2\r\n$5\r\nhello\r\n:7\r\n";
  const absl::Span<uint8_t> in = AsSpan(bytes);
  Buffer out;
  sluice::resp::ReplyCodec codec;
  sluice::resp::Value value;
  codec.Encode(sluice::resp::Arguments{"MGET", "a", "b"}, out);
  EXPECT_EQ(out.ToString(), "*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n");
  EXPECT_EQ(codec.Decode(in, value), DecodeResult::Message(bytes.size()));
  EXPECT_EQ(value.size(), 2u);
  EXPECT_EQ(value[0].string(), "hello");
  EXPECT_EQ(value[0].string().data(), bytes.data() + 8);
  EXPECT_EQ(value[1].integer(), 7);
  EXPECT_TRUE(value[2].is_null());
}

TEST(ReplyCodecTest, DecodesWhatRespTwoHas) {
  EXPECT_EQ(Shown("+OK\r\n"), "simple:OK");
  EXPECT_EQ(Shown("+\r\n"), "simple:");
  EXPECT_EQ(Shown("-ERR no\r\n"), "error:ERR no");
  EXPECT_EQ(Shown(":0\r\n"), "0");
  EXPECT_EQ(Shown(":+12\r\n"), "12");
  EXPECT_EQ(Shown(":9223372036854775807\r\n"), "9223372036854775807");
  EXPECT_EQ(Shown(":-9223372036854775808\r\n"), "-9223372036854775808");
  EXPECT_EQ(Shown("$0\r\n\r\n"), "''");
  EXPECT_EQ(Shown("$4\r\na\r\nb\r\n"), "'a\r\nb'");
  EXPECT_EQ(Shown("$-1\r\n"), "null");
  EXPECT_EQ(Shown("*-1\r\n"), "null-array");
  EXPECT_EQ(Shown("*0\r\n"), "array()");
  EXPECT_EQ(Shown("*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$1\r\nb\r\n"),
            "array(1 array(simple:a array()) 'b')");
}

TEST(ReplyCodecTest, DecodesWhatRespThreeHas) {
  EXPECT_EQ(Shown("_\r\n"), "null");
  EXPECT_EQ(Shown("#t\r\n"), "true");
  EXPECT_EQ(Shown("#f\r\n"), "false");
  EXPECT_EQ(Shown(",1.25\r\n"), "double:1.25");
  EXPECT_EQ(Shown(",10\r\n"), "double:10");
  EXPECT_EQ(Shown(",-1.5e+3\r\n"), "double:-1500");
  EXPECT_EQ(Shown(",inf\r\n"), "double:inf");
  EXPECT_EQ(Shown(",-inf\r\n"), "double:-inf");
  EXPECT_EQ(Shown(",nan\r\n"), "double:nan");
  EXPECT_EQ(Shown("(-3492890328409238509324850943850943825024385\r\n"),
            "big:-3492890328409238509324850943850943825024385");
  EXPECT_EQ(Shown("!9\r\nSYNTAX\r\nx\r\n"), "bulk-error:SYNTAX\r\nx");
  EXPECT_EQ(Shown("=8\r\ntxt:Some\r\n"), "txt:Some");
  EXPECT_EQ(Shown("=4\r\nmkd:\r\n"), "mkd:");
  EXPECT_EQ(Shown("%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n"), "map(simple:a 1 simple:b map())");
  EXPECT_EQ(Shown("~2\r\n#t\r\n:5\r\n"), "set(true 5)");
  EXPECT_EQ(Shown(">2\r\n+message\r\n*1\r\n:1\r\n"), "push(simple:message array(1))");
}

TEST(ReplyCodecTest, AttributesBelongToTheValueBehindThem) {
  EXPECT_EQ(Shown("|1\r\n+ttl\r\n:3600\r\n:3\r\n"), "attributes(simple:ttl 3600) 3");
  EXPECT_EQ(Shown("*3\r\n:1\r\n|1\r\n+ttl\r\n*1\r\n:9\r\n*1\r\n:2\r\n:3\r\n"),
            "array(1 attributes(simple:ttl array(9)) array(2) 3)");
  EXPECT_EQ(Shown("|0\r\n:1\r\n"), "attributes() 1");
  EXPECT_EQ(Shown("|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n+c\r\n"),
            "attributes(simple:a 1) attributes(simple:b 2) simple:c");
  EXPECT_EQ(Shown("*1\r\n|1\r\n|1\r\n+x\r\n+y\r\n+k\r\n+v\r\n:1\r\n"),
            "array(attributes(attributes(simple:x simple:y) simple:k simple:v) 1)");
  Check("*2\r\n|1\r\n+a\r\n:1\r\n:2\r\n:3\r\n", [](const Value& value) {
    EXPECT_EQ(value.size(), 2u);
    EXPECT_TRUE(value[0].has_attributes());
    EXPECT_FALSE(value[1].has_attributes());
    EXPECT_TRUE(value[1].attributes().is_null());
  });
}

TEST(ReplyCodecTest, JoinsStreamedStrings) {
  EXPECT_EQ(Shown("$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n"), "'Hello word'");
  EXPECT_EQ(Shown("$?\r\n;0\r\n"), "''");
  EXPECT_EQ(Shown("*2\r\n$?\r\n;1\r\na\r\n;2\r\nbc\r\n;0\r\n:1\r\n"), "array('abc' 1)");
}

TEST(ReplyCodecTest, DecodesStreamedAggregates) {
  EXPECT_EQ(Shown("*?\r\n:1\r\n*?\r\n.\r\n*1\r\n:2\r\n.\r\n"), "array(1 array() array(2))");
  EXPECT_EQ(Shown("%?\r\n+a\r\n:1\r\n+b\r\n*?\r\n:2\r\n.\r\n.\r\n"),
            "map(simple:a 1 simple:b array(2))");
  EXPECT_EQ(Shown("~?\r\n|1\r\n+x\r\n+y\r\n:1\r\n$?\r\n;1\r\na\r\n;0\r\n.\r\n"),
            "set(attributes(simple:x simple:y) 1 'a')");
  Check("*?\r\n:1\r\n:2\r\n.\r\n", [](const Value& value) { EXPECT_EQ(value.size(), 2u); });
}

TEST(ReplyCodecTest, DecodesOneMessageAfterTheOther) {
  EXPECT_THAT(codec_testing::DecodeEveryWay(ReplyCodec(), "+a\r\n*1\r\n:1\r\n>1\r\n+p\r\n_\r\n+tr")
                  .messages,
              ElementsAre("+a\r\n", "*1\r\n:1\r\n", ">1\r\n+p\r\n", "_\r\n"));
}

TEST(ReplyCodecTest, HeaderExampleOfValue) {
  Check("%2\r\n+a\r\n+1\r\n+b\r\n+2\r\n", [](const Value& reply) {
    std::vector<std::pair<std::string, std::string>> fields;
    for (auto field = reply.begin(); field != reply.end(); ++field) {
      const absl::string_view name = (*field).string();
      fields.emplace_back(std::string(name), std::string((*++field).string()));
    }
    EXPECT_THAT(fields, ElementsAre(testing::Pair("a", "1"), testing::Pair("b", "2")));
  });
}

TEST(ReplyCodecTest, AValueIsNothingThatItIsNot) {
  Check("+text\r\n", [](const Value& value) {
    EXPECT_EQ(value.integer(), 0);
    EXPECT_EQ(value.number(), 0);
    EXPECT_FALSE(value.boolean());
    EXPECT_EQ(value.size(), 0u);
    EXPECT_EQ(value.begin(), value.end());
    EXPECT_EQ(value.format(), "");
    EXPECT_TRUE(value.is_string());
    EXPECT_FALSE(value.is_error());
  });
  const Value none;
  EXPECT_TRUE(none.is_null());
  EXPECT_EQ(none.begin(), none.end());
  EXPECT_EQ(DescribeMessage(none), "_\r\n");
}

TEST(ReplyCodecTest, RefusesWhatIsNoValue) {
  EXPECT_EQ(ErrorOf("hello\r\n"), ReplyError::kUnknownType);
  EXPECT_EQ(StatusOf("hello\r\n").message(),
            "a value begins with byte 104; accepted: one of + - : $ * _ # , ( ! = % ~ > |");
  for (const char* const bytes :
       {"$x\r\n", "$-2\r\n", "$01\r\n", "$1\n", "$?x", "!-1\r\n", "=?\r\n", "!?\r\n", "%-1\r\n",
        "~-1\r\n", ">?\r\n", "|?\r\n", "*-2\r\n", "*+1\r\n", "$?\r\n;-1\r\n", "$?\r\n;?\r\n"}) {
    EXPECT_EQ(ErrorOf(bytes), ReplyError::kInvalidLength) << bytes;
  }
  for (const char* const bytes :
       {":\r\n",      ":x\r\n",    ":+-1\r\n",      ":1.0\r\n", ":9223372036854775808\r\n",
        ":-0\r\n",    "#x\r\n",    "#\r\n",         "_x\r\n",   ",\r\n",
        ",.5\r\n",    ",1x\r\n",   ",infinity\r\n", ",0x1\r\n", ", 1\r\n",
        ",1e999\r\n", ",+inf\r\n", "(\r\n",         "(1.5\r\n", "(-\r\n"}) {
    EXPECT_EQ(ErrorOf(bytes), ReplyError::kInvalidNumber) << bytes;
  }
  for (const char* const bytes :
       {"+a\n", "+\n", "+a\rb\r\n", "$1\r\nab\r\n", "$1\r\na\n\n", ".x", "*?\r\n.\n"}) {
    EXPECT_EQ(ErrorOf(bytes), ReplyError::kNoLineBreak) << bytes;
  }
  for (const char* const bytes : {"=3\r\ntxt\r\n", "=0\r\n\r\n", "=5\r\ntext:\r\n"}) {
    EXPECT_EQ(ErrorOf(bytes), ReplyError::kInvalidVerbatim) << bytes;
  }
  for (const char* const bytes : {".\r\n", "*1\r\n.\r\n", "%?\r\n:1\r\n.\r\n", "$?\r\n:1\r\n",
                                  "*?\r\n|1\r\n:1\r\n:2\r\n.\r\n", "$?\r\n.\r\n"}) {
    EXPECT_EQ(ErrorOf(bytes), ReplyError::kInvalidStream) << bytes;
  }
  EXPECT_EQ(ErrorOf("*1\r\n>1\r\n+x\r\n"), ReplyError::kNestedPush);
  EXPECT_EQ(ErrorOf(";1\r\n"), ReplyError::kUnknownType);
}

TEST(ReplyCodecTest, NamesTheLimitsThatAreBroken) {
  EXPECT_EQ(StatusOf("$101\r\n"),
            absl::ResourceExhaustedError(
                "a string of 101 bytes is over the limit of 100 (max_bulk_bytes)"));
  const std::string part = ";60\r\n" + std::string(60, 'x') + "\r\n";
  EXPECT_EQ(StatusOf("$?\r\n" + part + part),
            absl::ResourceExhaustedError(
                "a string of 120 bytes is over the limit of 100 (max_bulk_bytes)"));
  const absl::Status values = absl::ResourceExhaustedError(
      "a message's number of values is over the limit of 50 (max_values)");
  EXPECT_EQ(StatusOf("*51\r\n"), values);
  EXPECT_EQ(StatusOf("%26\r\n"), values);
  EXPECT_EQ(StatusOf("%9223372036854775807\r\n"), values);
  std::string ones = "*?\r\n";
  for (int i = 0; i < 50; ++i) ones += ":1\r\n";
  EXPECT_EQ(StatusOf(ones), values);
  const auto nested = [](size_t depth) {
    std::string bytes;
    for (; depth > 0; --depth) bytes += "*1\r\n";
    return bytes + ":1\r\n";
  };
  EXPECT_EQ(StatusOf(nested(5)), absl::OkStatus());
  EXPECT_EQ(StatusOf(nested(6)),
            absl::ResourceExhaustedError("a message's depth is over the limit of 5 (max_depth)"));
  EXPECT_EQ(StatusOf("+" + std::string(1000, 'x')),
            absl::ResourceExhaustedError("a message is over the limit of 1000 (max_frame_bytes)"));
}

TEST(ReplyCodecTest, ALineHasALimit) {
  const std::string longest = std::string(ReplyCodec::kMaxLineBytes - 3, 'x') + "\r\n";
  for (const codec_testing::Pieces& pieces : {codec_testing::Pieces{}, {1, 65'534}, {65'536}}) {
    EXPECT_EQ(codec_testing::Decode(ReplyCodec(), "+" + longest, pieces).messages.size(), 1u);
    EXPECT_EQ(codec_testing::Decode(ReplyCodec(), "+x" + longest, pieces).status,
              absl::ResourceExhaustedError("a line is over the limit of 65536 (kMaxLineBytes)"));
  }
}

TEST(ReplyCodecTest, DepthCostsNoStack) {
  const size_t depth = 200'000;
  std::string bytes;
  for (size_t i = 0; i < depth; ++i) bytes += "*1\r\n";
  bytes += ":1\r\n";
  ReplyCodec codec = Make({.max_depth = 1'000'000});
  Value value;
  ASSERT_EQ(codec.Decode(AsSpan(bytes), value), DecodeResult::Message(bytes.size()));
  EXPECT_EQ(value.size(), 1u);
  EXPECT_EQ(DescribeMessage(value), bytes);
}

// Bytes that were decoded already may be anything: they are not looked at again.
TEST(ReplyCodecTest, GoesOnWhereItWas) {
  ReplyCodec codec;
  Value value;
  std::string bytes = "*100000\r\n";
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_EQ(codec.Decode(AsSpan(bytes), value).kind, DecodeResult::Kind::kNeedMore);
    bytes += ":1\r\n";
    if (i > 0) bytes[bytes.size() - 8] = '?';
  }
  EXPECT_EQ(codec.Decode(AsSpan(bytes), value), DecodeResult::Message(bytes.size()));
  EXPECT_EQ(value.size(), 100'000u);
}

TEST(ReplyCodecTest, WantsAllOfALongStringAtOnce) {
  ReplyCodec codec;
  Value value;
  std::string bytes = "*2\r\n:1\r\n$1000\r\nx";
  EXPECT_EQ(codec.Decode(AsSpan(bytes), value), DecodeResult::NeedMore(bytes.size() - 1 + 1002));
}

TEST(ReplyCodecTest, OptionsOutOfRangeAreNamed) {
  EXPECT_EQ(ReplyCodec::Create({.max_depth = 0}).status(),
            absl::InvalidArgumentError("max_depth is 0; accepted: 1 to 2147483647"));
  EXPECT_EQ(ReplyCodec::Create({.max_frame_bytes = 10}).status(),
            absl::InvalidArgumentError("max_frame_bytes is 10; accepted: 64 to 2147483647"));
}

// A message of the kit's: in RESP3, and its bytes.
struct Reply {
  std::string bytes;
};
std::string DescribeMessage(const Reply& reply) { return reply.bytes; }
class ReplySender : public ReplyCodec {
 public:
  using ReplyCodec::ReplyCodec;
  // By way of a Value.
  EncodeResult Encode(const Reply& reply, Buffer& out) const {
    std::string bytes = reply.bytes;
    ReplyCodec codec;
    Value value;
    if (codec.Decode(AsSpan(bytes), value).consumed() != bytes.size()) {
      return EncodeResult::kInvalid;
    }
    return ReplyCodec::Encode(value, out);
  }
};

void Generate(std::minstd_rand& random, int depth, std::string& out) {
  const auto below = [&](size_t bound) { return random() % bound; };
  const auto text = [&] { return std::string(below(20), static_cast<char>('a' + below(26))); };
  const auto bulk = [&](char type) {
    const std::string body = text();
    absl::StrAppend(&out, std::string(1, type), body.size(), "\r\n", body, "\r\n");
  };
  switch (below(depth > 2 ? 10 : 15)) {
    case 0:
      absl::StrAppend(&out, "+", text(), "\r\n");
      return;
    case 1:
      absl::StrAppend(&out, "-", text(), "\r\n");
      return;
    case 2:
      absl::StrAppend(&out, ":", static_cast<int64_t>(random()) - (int64_t{1} << 30), "\r\n");
      return;
    case 3:
      return bulk('$');
    case 4:
      out += "_\r\n";
      return;
    case 5:
      out += below(2) == 0 ? "#t\r\n" : "#f\r\n";
      return;
    case 6:
      absl::StrAppend(&out, ",", below(1000), ".", 1 + below(9), "\r\n");
      return;
    case 7:
      absl::StrAppend(&out, "(", random(), random(), "\r\n");
      return;
    case 8:
      return bulk('!');
    case 9:
      out += "=6\r\ntxt:hi\r\n";
      return;
    default:
      break;
  }
  const size_t count = below(4);
  const char type = "*%~|>"[below(depth == 0 ? 5 : 4)];
  absl::StrAppend(&out, std::string(1, type), count, "\r\n");
  for (size_t i = (type == '%' || type == '|' ? 2 : 1) * count; i > 0; --i) {
    Generate(random, depth + 1, out);
  }
  if (type == '|') Generate(random, depth + 1, out);
}

TEST(ReplyCodecTest, KeepsItsPromises) {
  const ReplyCodec decoder =
      Make({.max_bulk_bytes = 100, .max_values = 5000, .max_frame_bytes = 64 * 1024});
  codec_testing::ExpectKeepsPromises(ReplySender(), decoder, [](std::minstd_rand& random) {
    Reply reply;
    Generate(random, 0, reply.bytes);
    return reply;
  });
}

TEST(ReplyCodecTest, SurvivesGarbage) {
  codec_testing::ExpectSurvivesGarbage(
      Small(),
      "*3\r\n:1\r\n$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n|1\r\n+k\r\n,1.5\r\n%?\r\n+a\r\n#t\r\n.\r\n"
      ">1\r\n=5\r\ntxt:x\r\n(12\r\n_\r\n-e\r\n*-1\r\n$-1\r\n",
      5000);
}

}  // namespace
}  // namespace sluice::resp
