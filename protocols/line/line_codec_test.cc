#include "sluice/protocols/line/line_codec.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace sluice::line {
namespace {

using ::sluice::codec_testing::Decode;
using ::sluice::codec_testing::Decoded;
using ::sluice::codec_testing::DecodeEveryWay;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

static_assert(ByteCodec<LineCodec>);
static_assert(EncoderOf<LineCodec, absl::string_view>);
static_assert(!HasReusableFrames<LineCodec>);
static_assert(std::is_trivially_copyable_v<LineCodec>);
static_assert(sizeof(LineCodec) == 16);

LineCodec Lenient(LineEnding ending, uint32_t max_line_bytes = 500) {
  return LineCodec({.ending = ending, .max_line_bytes = max_line_bytes});
}
LineCodec Strict(LineEnding ending, uint32_t max_line_bytes = 500) {
  return LineCodec({.ending = ending, .strict = true, .max_line_bytes = max_line_bytes});
}
std::vector<LineCodec> EveryOption() {
  return {Lenient(LineEnding::kLf), Lenient(LineEnding::kCrLf), Strict(LineEnding::kLf),
          Strict(LineEnding::kCrLf)};
}

EncodeResult TryEncode(const LineCodec& codec, absl::string_view message) {
  Buffer out;
  const EncodeResult result = codec.Encode(message, out);
  EXPECT_EQ(out.empty(), result != EncodeResult::kEncoded);
  return result;
}

std::string Encoded(const LineCodec& codec, absl::string_view message) {
  Buffer out;
  EXPECT_EQ(codec.Encode(message, out), EncodeResult::kEncoded);
  return out.ToString();
}

TEST(LineCodecTest, HeaderExample) {
  sluice::line::LineCodec codec;
  sluice::Buffer out;
  codec.Encode("hello", out);
  EXPECT_EQ(out.ToString(), "hello\n");

  for (std::string bytes : {"hello\nwor", "hello\r\nwor"}) {
    absl::Span<uint8_t> in(reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size());
    absl::Span<uint8_t> message;
    codec.Decode(in, message);
    EXPECT_EQ(message.data(), in.data());
    EXPECT_EQ(codec_testing::DescribeMessage(message), "hello");
  }

  sluice::line::LineCodec strict({.ending = sluice::line::LineEnding::kCrLf, .strict = true});
  EXPECT_EQ(Encoded(strict, "hello"), "hello\r\n");
  EXPECT_EQ(Decode(strict, "hello\n").status.code(), absl::StatusCode::kInvalidArgument);
}

// Text with CRs in it, none at the end.
std::string AnyLine(std::minstd_rand& random) {
  std::string line(random() % 80, 'x');
  for (char& c : line) {
    if (random() % 8 == 0) c = '\r';
  }
  if (!line.empty()) line.back() = '.';
  return line;
}

TEST(LineCodecTest, KeepsItsPromises) {
  for (const LineCodec& codec : EveryOption()) codec_testing::ExpectKeepsPromises(codec, AnyLine);
}

TEST(LineCodecTest, ConversesOverABadNetwork) {
  for (const LineCodec& codec : EveryOption()) codec_testing::ExpectConverses(codec, AnyLine);
}

// What ends a line.

TEST(LineCodecTest, UnlessItIsStrictBothEndingsAreAccepted) {
  for (const LineEnding ending : {LineEnding::kLf, LineEnding::kCrLf}) {
    const Decoded decoded = DecodeEveryWay(Lenient(ending), "one\ntwo\r\n\n\r\nthree\r\r\nfo");
    EXPECT_THAT(decoded.messages, ElementsAre("one", "two", "", "", "three\r"));
    EXPECT_EQ(decoded.unfinished, 2u);
    EXPECT_EQ(decoded.status, absl::OkStatus());
  }
}

TEST(LineCodecTest, WithStrictLfACrIsOfTheLine) {
  EXPECT_THAT(DecodeEveryWay(Strict(LineEnding::kLf), "one\ntwo\r\n\n\r\n").messages,
              ElementsAre("one", "two\r", "", "\r"));
}

TEST(LineCodecTest, WithStrictCrLfAnLfAloneIsAnError) {
  const LineCodec codec = Strict(LineEnding::kCrLf);
  const Decoded decoded = DecodeEveryWay(codec, "one\r\n\r\nthree\r\r\nfour\nfive\r\n");
  EXPECT_THAT(decoded.messages, ElementsAre("one", "", "three\r"));
  EXPECT_EQ(decoded.status, absl::InvalidArgumentError(
                                "a line of 4 bytes ends with LF alone; only CRLF is accepted"));
  EXPECT_EQ(Decode(codec, "\n").status.message(),
            "a line of 0 bytes ends with LF alone; only CRLF is accepted");
}

TEST(LineCodecTest, ACrWithoutLfIsAByteLikeAnyOther) {
  for (const LineCodec& codec : EveryOption()) {
    EXPECT_EQ(DecodeEveryWay(codec, "a\rb\r\rc\r\n").messages.size(), 1u);
    EXPECT_THAT(DecodeEveryWay(codec, "a\rb\r\rc").messages, IsEmpty());
  }
  EXPECT_THAT(DecodeEveryWay(LineCodec(), "a\rb\r\rc\n").messages, ElementsAre("a\rb\r\rc"));
}

TEST(LineCodecTest, AnyByteButLfIsOfALine) {
  std::string line;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte != '\n') line += static_cast<char>(byte);
  }
  for (const LineCodec& codec : EveryOption()) codec_testing::ExpectRoundTrip(codec, {line, line});
}

// Encode.

TEST(LineCodecTest, SendsTheEndingThatWasChosen) {
  EXPECT_EQ(Encoded(Lenient(LineEnding::kLf), "a"), "a\n");
  EXPECT_EQ(Encoded(Lenient(LineEnding::kCrLf), "a"), "a\r\n");
  EXPECT_EQ(Encoded(Strict(LineEnding::kLf), ""), "\n");
  EXPECT_EQ(Encoded(Strict(LineEnding::kCrLf), ""), "\r\n");
}

TEST(LineCodecTest, AMessageThatWouldBeTwoLinesIsRefused) {
  for (const LineCodec& codec : EveryOption()) {
    for (const char* const message : {"\n", "a\nb", "a\n", "\nb", "a\r\nb", "a\r\n"}) {
      EXPECT_EQ(TryEncode(codec, message), EncodeResult::kInvalid) << message;
    }
  }
}

TEST(LineCodecTest, AMessageWhoseEndWouldBeTakenForAnEndingIsRefused) {
  EXPECT_EQ(TryEncode(Lenient(LineEnding::kLf), "a\r"), EncodeResult::kInvalid);
  EXPECT_EQ(TryEncode(Lenient(LineEnding::kLf), "a\rb"), EncodeResult::kEncoded);
  for (const LineCodec& codec :
       {Lenient(LineEnding::kCrLf), Strict(LineEnding::kLf), Strict(LineEnding::kCrLf)}) {
    codec_testing::ExpectRoundTrip(codec, {"a\r", "\r", "\r\r"});
  }
}

// Limits.

TEST(LineCodecTest, ALineAtTheLimitPassesAndOneByteMoreDoesNot) {
  for (const LineEnding ending : {LineEnding::kLf, LineEnding::kCrLf}) {
    for (const LineCodec& codec : {Lenient(ending, 5), Strict(ending, 5)}) {
      codec_testing::ExpectRoundTrip(codec, {"fiver", "", "fiver"});
      EXPECT_EQ(TryEncode(codec, "sixsix"), EncodeResult::kTooLong);
      const absl::Status too_long = absl::ResourceExhaustedError(
          "a line is longer than the limit of 5 bytes (max_line_bytes)");
      for (const char* const bytes :
           {"sixsix", "sixsix\n", "sixsix\r\n", "sevens!\r\n", "cr...\r."}) {
        const Decoded decoded = DecodeEveryWay(codec, bytes);
        EXPECT_THAT(decoded.messages, IsEmpty());
        EXPECT_EQ(decoded.status, too_long) << bytes;
        EXPECT_LT(decoded.most_kept, codec.max_frame_bytes());
      }
    }
  }
}

TEST(LineCodecTest, ALimitOfNothingLeavesEmptyLines) {
  const LineCodec codec = Lenient(LineEnding::kLf, 0);
  EXPECT_THAT(DecodeEveryWay(codec, "\n\r\n\n").messages, ElementsAre("", "", ""));
  EXPECT_FALSE(Decode(codec, "x").status.ok());
  EXPECT_EQ(TryEncode(codec, "x"), EncodeResult::kTooLong);
}

TEST(LineCodecTest, TheDefaultLimitIs64KiB) {
  codec_testing::Feeder<LineCodec> feeder((LineCodec()));
  feeder.Feed(std::string(65536, 'x'));
  EXPECT_FALSE(feeder.failed());
  feeder.Feed("\r");
  EXPECT_FALSE(feeder.failed());
  feeder.Feed("\n");
  EXPECT_THAT(feeder.decoded().messages, ElementsAre(std::string(65536, 'x')));
  feeder.Feed(std::string(65537, 'x'));
  EXPECT_EQ(feeder.codec().error(), LineError::kTooLong);
}

// A line is searched once however it comes. What was looked at is not looked at again, so an LF
// that is put there afterwards (which no driver does) is not seen.
TEST(LineCodecTest, WhatWasSearchedIsNotSearchedAgain) {
  LineCodec codec;
  std::string bytes = "0123456789";
  absl::Span<uint8_t> message;
  const auto decode = [&] {
    return codec.Decode({reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size()}, message);
  };
  EXPECT_EQ(decode(), DecodeResult::NeedMore(0));
  bytes[3] = '\n';
  bytes += "a";
  EXPECT_EQ(decode(), DecodeResult::NeedMore(0));
  bytes += "\n";
  EXPECT_EQ(decode(), DecodeResult::Message(12));
  EXPECT_EQ(decode(), DecodeResult::Message(4));  // a new line is looked at from its front
}

TEST(LineCodecTest, EncodesAfterAnErrorOfDecode) {
  LineCodec codec = Lenient(LineEnding::kLf, 5);
  std::string bytes = "far too long";
  absl::Span<uint8_t> message;
  EXPECT_EQ(codec.Decode({reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size()}, message),
            DecodeResult::Error());
  EXPECT_EQ(Encoded(codec, "sorry"), "sorry\n");
}

}  // namespace
}  // namespace sluice::line
