#include "sluice/protocols/netstring/netstring_codec.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace sluice::netstring {
namespace {

using ::sluice::codec_testing::Decode;
using ::sluice::codec_testing::Decoded;
using ::sluice::codec_testing::DecodeEveryWay;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

static_assert(HasReusableFrames<NetstringCodec>);
static_assert(EncoderOf<NetstringCodec, absl::string_view>);
static_assert(EncoderOf<NetstringCodec, Slice>);
static_assert(EncoderOf<NetstringCodec, Buffer>);
static_assert(std::is_trivially_copyable_v<NetstringCodec>);
static_assert(sizeof(NetstringCodec) == 16);

std::string Encoded(const NetstringCodec& codec, absl::string_view message) {
  Buffer out;
  EXPECT_EQ(codec.Encode(message, out), EncodeResult::kEncoded);
  return out.ToString();
}

std::string AnyMessage(std::minstd_rand& random) {
  std::string message(random() % 300, '\0');
  for (char& c : message) c = static_cast<char>(random());
  return message;
}

TEST(NetstringCodecTest, HeaderExample) {
  sluice::netstring::NetstringCodec codec;
  sluice::Buffer out;
  codec.Encode("hello", out);
  std::string bytes = out.ToString();
  EXPECT_EQ(bytes, "5:hello,");

  absl::Span<uint8_t> in(reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size());
  absl::Span<uint8_t> message;
  codec.Decode(in, message);
  EXPECT_EQ(message.data(), in.data() + 2);
  EXPECT_EQ(codec_testing::DescribeMessage(message), "hello");
}

TEST(NetstringCodecTest, KeepsItsPromises) {
  codec_testing::ExpectKeepsPromises(NetstringCodec(500), AnyMessage);
}

TEST(NetstringCodecTest, ConversesOverABadNetwork) {
  codec_testing::ExpectConverses(NetstringCodec(500), AnyMessage);
}

// The examples of the format's text, cr.yp.to/proto/netstrings.txt.
TEST(NetstringCodecTest, TheExamplesOfTheFormat) {
  const absl::string_view hello("\x31\x32\x3a\x68\x65\x6c\x6c\x6f\x20\x77\x6f\x72\x6c\x64\x21\x2c");
  const Decoded decoded =
      codec_testing::ExpectSameWhenEncodedAgain(NetstringCodec(), absl::StrCat(hello, "0:,"));
  EXPECT_THAT(decoded.messages, ElementsAre("hello world!", ""));
  EXPECT_EQ(decoded.unfinished, 0u);
}

TEST(NetstringCodecTest, EncodesTextSpansSlicesAndBuffers) {
  const NetstringCodec codec(10);
  Buffer out;
  EXPECT_EQ(codec.Encode("literal", out), EncodeResult::kEncoded);
  EXPECT_EQ(codec.Encode(Slice::Copy("slice"), out), EncodeResult::kEncoded);
  Buffer buffer;
  buffer.Append("buffer");
  EXPECT_EQ(codec.Encode(std::move(buffer), out), EncodeResult::kEncoded);
  EXPECT_EQ(codec.Encode(Buffer(), out), EncodeResult::kEncoded);
  EXPECT_EQ(codec.Encode(Slice::Copy("eleven byte"), out), EncodeResult::kTooLong);
  EXPECT_EQ(out.ToString(), "7:literal,5:slice,6:buffer,0:,");
}

TEST(NetstringCodecTest, EveryNumberOfDigits) {
  for (const size_t size : {0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 100000, 1000000}) {
    const std::string message(size, 'm');
    const std::string bytes = Encoded(NetstringCodec(), message);
    EXPECT_EQ(bytes, absl::StrCat(size, ":", message, ","));
    EXPECT_THAT(Decode(NetstringCodec(), bytes + bytes, {1, 1, 1, size}).messages,
                ElementsAre(message, message));
  }
}

// Errors.

struct Wrong {
  const char* name;
  const char* bytes;
  NetstringError error;
  const char* text;
};

class WrongNetstringTest : public testing::TestWithParam<Wrong> {};

TEST_P(WrongNetstringTest, IsAnErrorThatSaysWhatWasFound) {
  const NetstringCodec codec(500);
  const Decoded decoded = DecodeEveryWay(codec, absl::StrCat("2:ok,", GetParam().bytes));
  EXPECT_THAT(decoded.messages, ElementsAre("ok"));
  EXPECT_EQ(decoded.status.message(), GetParam().text);
  EXPECT_EQ(decoded.status.code(), GetParam().error == NetstringError::kTooLong
                                       ? absl::StatusCode::kResourceExhausted
                                       : absl::StatusCode::kInvalidArgument);
  codec_testing::Feeder<NetstringCodec> feeder(codec);
  feeder.Feed(GetParam().bytes);
  EXPECT_EQ(feeder.codec().error(), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Bytes, WrongNetstringTest,
    testing::Values(
        Wrong{"NoDigit", "hello", NetstringError::kNoLength,
              "a netstring begins with 'h', not with a digit of its length"},
        Wrong{"NoLength", ":,", NetstringError::kNoLength,
              "a netstring begins with ':', not with a digit of its length"},
        Wrong{"LineBreak", "\n2:ok,", NetstringError::kNoLength,
              "a netstring begins with '\\n', not with a digit of its length"},
        Wrong{"Sign", "-1:,", NetstringError::kNoLength,
              "a netstring begins with '-', not with a digit of its length"},
        Wrong{"NoAscii", "\xff", NetstringError::kNoLength,
              "a netstring begins with '\\xff', not with a digit of its length"},
        Wrong{"LeadingZero", "05:hello,", NetstringError::kLeadingZero,
              "a netstring's length begins with '0' and goes on with '5'; leading zeros are not "
              "accepted"},
        Wrong{"TwoZeros", "00:,", NetstringError::kLeadingZero,
              "a netstring's length begins with '0' and goes on with '0'; leading zeros are not "
              "accepted"},
        Wrong{"NoColon", "12;", NetstringError::kNoColon,
              "a netstring's length of 12 is followed by ';', not by a digit or a colon"},
        Wrong{"Space", "5 :hello,", NetstringError::kNoColon,
              "a netstring's length of 5 is followed by ' ', not by a digit or a colon"},
        Wrong{"TooShort", "4:hello,", NetstringError::kNoComma,
              "a netstring of 4 bytes is followed by 'o', not by a comma"},
        Wrong{"LengthOverTheLimit", "501:", NetstringError::kTooLong,
              "a netstring's length begins with 501, over the limit of 500 (max_message_bytes)"},
        Wrong{"ManyDigits", "99999999999999999999999:", NetstringError::kTooLong,
              "a netstring's length begins with 999, over the limit of 500 (max_message_bytes)"}),
    [](const testing::TestParamInfo<Wrong>& wrong) { return wrong.param.name; });

// Limits.

TEST(NetstringCodecTest, AMessageAtTheLimitPassesAndOneByteMoreDoesNot) {
  const NetstringCodec codec(10);
  EXPECT_EQ(codec.max_frame_bytes(), 14u);
  codec_testing::ExpectRoundTrip(codec, {"ten bytes.", ""});
  Buffer out;
  EXPECT_EQ(codec.Encode("eleven byte", out), EncodeResult::kTooLong);
  EXPECT_TRUE(out.empty());
  EXPECT_THAT(DecodeEveryWay(codec, "11:").messages, IsEmpty());
  EXPECT_FALSE(DecodeEveryWay(codec, "11").status.ok());
}

TEST(NetstringCodecTest, TheSmallestAndTheLargestLimit) {
  EXPECT_EQ(NetstringCodec(0).max_frame_bytes(), 3u);
  EXPECT_THAT(DecodeEveryWay(NetstringCodec(0), "0:,0:,").messages, ElementsAre("", ""));
  EXPECT_FALSE(Decode(NetstringCodec(0), "1").status.ok());

  const NetstringCodec largest(4294967295);
  EXPECT_EQ(largest.max_frame_bytes(), size_t{11} + 4294967295 + 1);
  EXPECT_TRUE(Decode(largest, "4294967295:x").status.ok());
  EXPECT_EQ(Decode(largest, "4294967296").status.message(),
            "a netstring's length begins with 4294967296, over the limit of 4294967295 "
            "(max_message_bytes)");
}

TEST(NetstringCodecTest, TellsHowManyBytesItWants) {
  const auto want = [](std::string bytes) {
    absl::Span<uint8_t> message;
    return NetstringCodec()
        .Decode({reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size()}, message)
        .want();
  };
  EXPECT_EQ(want(""), 1u);
  EXPECT_EQ(want("12"), 3u);
  EXPECT_EQ(want("12:"), 16u);
  EXPECT_EQ(want("12:hello world!"), 16u);
}

}  // namespace
}  // namespace sluice::netstring
