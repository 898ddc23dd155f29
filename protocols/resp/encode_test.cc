#include "sluice/protocols/resp/encode.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/resp/command_codec.h"
#include "sluice/protocols/resp/reply_codec.h"

namespace sluice::resp {
namespace {

template <typename Write>
std::string Written(Version version, Write&& write) {
  CommandCodec codec;
  codec.set_version(version);
  Buffer out;
  const EncodeResult result = codec.Encode(write, out);
  EXPECT_EQ(result == EncodeResult::kEncoded, !out.empty());
  return result == EncodeResult::kEncoded ? out.ToString() : "refused";
}
template <typename Write>
std::string InResp2(Write&& write) {
  return Written(Version::kResp2, write);
}
template <typename Write>
std::string InResp3(Write&& write) {
  return Written(Version::kResp3, write);
}

TEST(EncodeTest, WhatBothVersionsHave) {
  for (const Version version : {Version::kResp2, Version::kResp3}) {
    const auto written = [&](auto write) { return Written(version, write); };
    EXPECT_EQ(written([](auto& reply) { reply.SimpleString("OK"); }), "+OK\r\n");
    EXPECT_EQ(written([](auto& reply) { reply.Error("ERR a\r\nb"); }), "-ERR a  b\r\n");
    EXPECT_EQ(written([](auto& reply) { reply.Integer(-42); }), ":-42\r\n");
    EXPECT_EQ(written([](auto& reply) { reply.Integer(0); }), ":0\r\n");
    EXPECT_EQ(written([](auto& reply) { reply.Integer(std::numeric_limits<int64_t>::min()); }),
              ":-9223372036854775808\r\n");
    EXPECT_EQ(written([](auto& reply) { reply.BulkString("a\r\nb"); }), "$4\r\na\r\nb\r\n");
    EXPECT_EQ(written([](auto& reply) { reply.BulkString(Slice::Copy("ab")); }), "$2\r\nab\r\n");
    EXPECT_EQ(written([](auto& reply) {
                reply.Array(2);
                reply.Integer(1);
                reply.Array(0);
              }),
              "*2\r\n:1\r\n*0\r\n");
  }
}

TEST(EncodeTest, ALongSliceIsShared) {
  const Slice value = Slice::Copy(std::string(100'000, 'v'));
  Buffer out;
  CommandCodec().Encode([&](auto& reply) { reply.BulkString(value); }, out);
  EXPECT_EQ(out.ToString(), "$100000\r\n" + std::string(100'000, 'v') + "\r\n");
}

TEST(EncodeTest, WhatRespTwoWritesOtherwise) {
  const auto check = [](auto write, absl::string_view resp2, absl::string_view resp3) {
    EXPECT_EQ(InResp2(write), resp2);
    EXPECT_EQ(InResp3(write), resp3);
  };
  check([](auto& reply) { reply.Null(); }, "$-1\r\n", "_\r\n");
  check([](auto& reply) { reply.NullArray(); }, "*-1\r\n", "_\r\n");
  check([](auto& reply) { reply.Boolean(true); }, ":1\r\n", "#t\r\n");
  check([](auto& reply) { reply.Boolean(false); }, ":0\r\n", "#f\r\n");
  check([](auto& reply) { reply.Double(1.5); }, "$3\r\n1.5\r\n", ",1.5\r\n");
  check([](auto& reply) { reply.BigNumber("-12"); }, "$3\r\n-12\r\n", "(-12\r\n");
  check([](auto& reply) { reply.BulkError("ERR a\nb"); }, "-ERR a b\r\n", "!7\r\nERR a\nb\r\n");
  check([](auto& reply) { reply.Verbatim("txt", "hi"); }, "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
  check(
      [](auto& reply) {
        reply.Map(1);
        reply.SimpleString("k");
        reply.Integer(1);
      },
      "*2\r\n+k\r\n:1\r\n", "%1\r\n+k\r\n:1\r\n");
  check(
      [](auto& reply) {
        reply.Set(1);
        reply.Integer(1);
      },
      "*1\r\n:1\r\n", "~1\r\n:1\r\n");
  check(
      [](auto& reply) {
        reply.Push(1);
        reply.Integer(1);
      },
      "*1\r\n:1\r\n", ">1\r\n:1\r\n");
}

TEST(EncodeTest, RespTwoHasNoAttributes) {
  const auto write = [](auto& reply) {
    reply.Array(2);
    reply.Attributes(1);
    reply.SimpleString("k");
    reply.Array(1);
    reply.Attributes(1);
    reply.Integer(1);
    reply.Integer(2);
    reply.Integer(3);
    reply.Integer(4);
    reply.Attributes(0);
    reply.Integer(5);
  };
  EXPECT_EQ(InResp2(write), "*2\r\n:4\r\n:5\r\n");
  EXPECT_EQ(InResp3(write), "*2\r\n|1\r\n+k\r\n*1\r\n|1\r\n:1\r\n:2\r\n:3\r\n:4\r\n|0\r\n:5\r\n");
}

TEST(EncodeTest, DoublesAreShortAndExact) {
  const auto text = [](double value) {
    const std::string line = InResp3([&](auto& reply) { reply.Double(value); });
    return line.substr(1, line.size() - 3);
  };
  EXPECT_EQ(text(0.1), "0.1");
  EXPECT_EQ(text(10), "10");
  EXPECT_EQ(text(1.0 / 3), "0.33333333333333331");
  EXPECT_EQ(text(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(text(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(text(std::nan("")), "nan");
  EXPECT_EQ(text(1e300), "1e+300");
}

TEST(EncodeTest, RefusesWhatIsNotOneWholeValue) {
  EXPECT_EQ(InResp3([](auto&) {}), "refused");
  EXPECT_EQ(InResp3([](auto& reply) { reply.Array(1); }), "refused");
  EXPECT_EQ(InResp3([](auto& reply) { reply.Attributes(0); }), "refused");
  EXPECT_EQ(InResp3([](auto& reply) {
              reply.Map(1);
              reply.Integer(1);
            }),
            "refused");
  EXPECT_EQ(InResp3([](auto& reply) {
              reply.Integer(1);
              reply.Integer(2);
            }),
            "refused");
  EXPECT_EQ(InResp2([](auto& reply) {
              reply.Integer(1);
              reply.Attributes(0);
            }),
            "refused");
}

TEST(EncodeTest, APushIsAWholeMessageOrRefused) {
  const auto in_an_array = [](auto& reply) {
    reply.Array(1);
    reply.Push(1);
    reply.Integer(1);
  };
  const auto in_attributes = [](auto& reply) {
    reply.Attributes(1);
    reply.Push(0);
    reply.Integer(1);
    reply.Integer(2);
  };
  const auto behind_attributes = [](auto& reply) {
    reply.Attributes(1);
    reply.SimpleString("k");
    reply.Array(0);
    reply.Push(1);
    reply.Integer(1);
  };
  for (const Version version : {Version::kResp2, Version::kResp3}) {
    CommandCodec codec;
    codec.set_version(version);
    Buffer out;
    EXPECT_EQ(codec.Encode(in_an_array, out), EncodeResult::kInvalid);
    EXPECT_EQ(codec.Encode(in_attributes, out), EncodeResult::kInvalid);
    EXPECT_TRUE(out.empty());
  }
  EXPECT_EQ(InResp2(behind_attributes), "*1\r\n:1\r\n");
  EXPECT_EQ(InResp3(behind_attributes), "|1\r\n+k\r\n*0\r\n>1\r\n:1\r\n");
}

TEST(EncodeTest, RefusesWhatThePeerWouldMisread) {
  EXPECT_EQ(InResp3([](auto& reply) { reply.SimpleString("a\r\nb"); }), "refused");
  EXPECT_EQ(InResp3([](auto& reply) { reply.SimpleString("a\nb"); }), "refused");
  EXPECT_EQ(InResp3([](auto& reply) { reply.BigNumber("1.5"); }), "refused");
  EXPECT_EQ(InResp3([](auto& reply) { reply.BigNumber("-"); }), "refused");
  EXPECT_EQ(InResp3([](auto& reply) { reply.Verbatim("text", "x"); }), "refused");
  // And what is written after it does not make it good.
  EXPECT_EQ(InResp3([](auto& reply) {
              reply.SimpleString("\n");
              reply.Attributes(0);
              reply.Integer(1);
            }),
            "refused");
}

TEST(EncodeTest, CommandsAreArraysOfBulkStrings) {
  const ReplyCodec codec;
  Buffer out;
  EXPECT_EQ(codec.Encode(Arguments{"SET", "", "v\r\n"}, out), EncodeResult::kEncoded);
  EXPECT_EQ(out.ToString(), "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\nv\r\n\r\n");
  Buffer none;
  EXPECT_EQ(codec.Encode(Arguments{}, none), EncodeResult::kInvalid);
  EXPECT_EQ(codec.Encode(Command(), none), EncodeResult::kInvalid);
  EXPECT_TRUE(none.empty());
}

// What a proxy does.
TEST(EncodeTest, AReceivedValueIsWrittenInTheVersionOfItsReader) {
  std::string bytes = "|1\r\n+k\r\n:1\r\n%2\r\n+a\r\n#t\r\n$-1\r\n*-1\r\n";
  ReplyCodec from;
  Value value;
  ASSERT_EQ(
      from.Decode(absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()), value),
      DecodeResult::Message(bytes.size()));
  CommandCodec to;
  Buffer resp2;
  EXPECT_EQ(to.Encode(value, resp2), EncodeResult::kEncoded);
  EXPECT_EQ(resp2.ToString(), "*4\r\n+a\r\n:1\r\n$-1\r\n*-1\r\n");
  to.set_version(Version::kResp3);
  Buffer resp3;
  EXPECT_EQ(to.Encode(value, resp3), EncodeResult::kEncoded);
  EXPECT_EQ(resp3.ToString(), "|1\r\n+k\r\n:1\r\n%2\r\n+a\r\n#t\r\n_\r\n_\r\n");
}

}  // namespace
}  // namespace sluice::resp
