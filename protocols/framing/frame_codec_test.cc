#include "sluice/protocols/framing/frame_codec.h"

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
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

namespace sluice::framing {
namespace {

using ::sluice::codec_testing::Decode;
using ::sluice::codec_testing::Decoded;
using ::sluice::codec_testing::DecodeEveryWay;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

static_assert(ByteCodec<FrameCodec>);
static_assert(EncoderOf<FrameCodec, absl::string_view>);
static_assert(EncoderOf<FrameCodec, Slice>);
static_assert(EncoderOf<FrameCodec, Buffer>);
static_assert(std::is_trivially_copyable_v<FrameCodec>);
static_assert(sizeof(FrameCodec) == 32);

// Bytes as the tests write them: pairs of hex digits and 'text', with spaces where one likes.
std::string Bytes(absl::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    if (text[0] == ' ') {
      text.remove_prefix(1);
    } else if (text[0] == '\'') {
      const size_t end = text.find('\'', 1);
      bytes += std::string(text.substr(1, end - 1));
      text.remove_prefix(end + 1);
    } else {
      bytes += absl::HexStringToBytes(text.substr(0, 2));
      text.remove_prefix(2);
    }
  }
  return bytes;
}

FrameCodec Make(const FrameOptions& options) {
  absl::StatusOr<FrameCodec> codec = FrameCodec::Create(options);
  EXPECT_TRUE(codec.ok()) << codec.status();
  return codec.ok() ? *codec : FrameCodec();
}

absl::Span<const uint8_t> AsSpan(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string Encoded(const FrameCodec& codec, absl::string_view message) {
  Buffer out;
  EXPECT_EQ(codec.Encode(message, out), EncodeResult::kEncoded);
  return out.ToString();
}

EncodeResult TryEncode(const FrameCodec& codec, absl::string_view message) {
  Buffer out;
  const EncodeResult result = codec.Encode(message, out);
  EXPECT_EQ(out.empty(), result != EncodeResult::kEncoded);
  return result;
}

// Decodes in every way, and gives the error.
FrameError ErrorOf(const FrameOptions& options, absl::string_view bytes) {
  const FrameCodec codec = Make(options);
  DecodeEveryWay(codec, bytes);
  codec_testing::Feeder<FrameCodec> feeder(codec);
  feeder.Feed(bytes);
  return feeder.codec().error();
}

std::string ErrorTextOf(const FrameOptions& options, absl::string_view bytes) {
  return std::string(Decode(Make(options), bytes).status.message());
}

TEST(FrameCodecTest, HeaderExample) {
  sluice::framing::FrameCodec codec;
  sluice::Buffer out;
  codec.Encode("HELLO, WORLD", out);
  std::string bytes = out.ToString();
  EXPECT_EQ(bytes, Bytes("0000000C 'HELLO, WORLD'"));

  absl::Span<uint8_t> in(reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size());
  absl::Span<uint8_t> message;
  codec.Decode(in, message);
  EXPECT_EQ(message.data(), in.data() + 4);
  EXPECT_EQ(codec_testing::DescribeMessage(message), "HELLO, WORLD");

  sluice::framing::FrameOptions options;
  options.length_bytes = 2;
  options.byte_order = sluice::framing::ByteOrder::kLittleEndian;
  absl::StatusOr<FrameCodec> other = FrameCodec::Create(options);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(Encoded(*other, "hi"), Bytes("0200 'hi'"));
}

// The table in the header, which is that of Netty's LengthFieldBasedFrameDecoder.
struct Example {
  const char* name;
  int length_bytes;
  int64_t length_offset;
  int64_t length_adjustment;
  int64_t bytes_to_strip;
  const char* frame;
  const char* message;
  bool can_encode;
};

class NettyExampleTest : public testing::TestWithParam<Example> {};

TEST_P(NettyExampleTest, DecodesAndEncodes) {
  const Example& example = GetParam();
  FrameOptions options;
  options.length_bytes = example.length_bytes;
  options.length_offset = example.length_offset;
  options.length_adjustment = example.length_adjustment;
  options.bytes_to_strip = example.bytes_to_strip;
  const FrameCodec codec = Make(options);
  const std::string frame = Bytes(example.frame);
  const std::string message = Bytes(example.message);

  const Decoded decoded = DecodeEveryWay(codec, frame + frame + frame);
  EXPECT_THAT(decoded.messages, ElementsAre(message, message, message));
  EXPECT_EQ(decoded.unfinished, 0u);
  EXPECT_EQ(decoded.status, absl::OkStatus());

  EXPECT_EQ(codec.can_encode(), example.can_encode);
  if (example.can_encode) {
    EXPECT_EQ(Encoded(codec, message), frame);
  } else {
    EXPECT_EQ(TryEncode(codec, message), EncodeResult::kInvalid);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Header, NettyExampleTest,
    testing::Values(Example{"LengthInFrontKept", 2, 0, 0, 0, "000C 'HELLO, WORLD'",
                            "000C 'HELLO, WORLD'", true},
                    Example{"LengthStripped", 2, 0, 0, 2, "000C 'HELLO, WORLD'", "'HELLO, WORLD'",
                            true},
                    Example{"LengthCountsItself", 2, 0, -2, 0, "000E 'HELLO, WORLD'",
                            "000E 'HELLO, WORLD'", true},
                    Example{"HeaderBefore", 3, 2, 0, 0, "CAFE 00000C 'HELLO, WORLD'",
                            "CAFE 00000C 'HELLO, WORLD'", true},
                    Example{"HeaderBehind", 3, 0, 2, 0, "00000C CAFE 'HELLO, WORLD'",
                            "00000C CAFE 'HELLO, WORLD'", true},
                    Example{"HeadersOnBothSides", 2, 1, 1, 3, "CA 000C FE 'HELLO, WORLD'",
                            "FE 'HELLO, WORLD'", false},
                    Example{"LengthCountsTheWholeFrame", 2, 1, -3, 3, "CA 0010 FE 'HELLO, WORLD'",
                            "FE 'HELLO, WORLD'", false}),
    [](const testing::TestParamInfo<Example>& example) { return example.param.name; });

// Every combination of options, against frames that are put together here by the definition, byte
// for byte.
struct Combination {
  FrameOptions options;
  int varint_bytes;
};

void AppendLength(std::string& frame, const FrameOptions& options, uint64_t length) {
  if (options.length_bytes == FrameOptions::kVarint) {
    for (; length >= 128; length /= 128) frame += static_cast<char>(128 + length % 128);
    frame += static_cast<char>(length);
    return;
  }
  std::string digits;
  for (int i = 0; i < options.length_bytes; ++i, length /= 256) {
    const char digit = static_cast<char>(length % 256);
    digits = options.byte_order == ByteOrder::kBigEndian ? digit + digits : digits + digit;
  }
  frame += digits;
}

std::string FrameByDefinition(const FrameOptions& options, absl::string_view header,
                              absl::string_view rest) {
  std::string frame(header);
  AppendLength(
      frame, options,
      static_cast<uint64_t>(static_cast<int64_t>(rest.size()) - options.length_adjustment));
  frame += std::string(rest);
  return frame;
}

TEST(FrameCodecTest, EveryCombinationOfOptions) {
  int combinations = 0;
  int encodable = 0;
  for (const int length_bytes : {1, 2, 3, 4, 8, FrameOptions::kVarint}) {
    for (const ByteOrder order : {ByteOrder::kBigEndian, ByteOrder::kLittleEndian}) {
      for (const int64_t offset : {0, 1, 5}) {
        for (const int64_t adjustment : {0, -1, -9, 2}) {
          for (const int64_t strip :
               {int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{2}, int64_t{4}, int64_t{7}}) {
            FrameOptions options;
            options.length_bytes = length_bytes;
            options.byte_order = order;
            options.length_offset = offset;
            options.length_adjustment = adjustment;
            options.bytes_to_strip = strip;
            SCOPED_TRACE(absl::StrCat("length_bytes ", length_bytes, ", little ",
                                      order == ByteOrder::kLittleEndian, ", offset ", offset,
                                      ", adjustment ", adjustment, ", strip ", strip));
            const FrameCodec codec = Make(options);
            ++combinations;

            std::string bytes;
            std::vector<std::string> messages;
            for (const absl::string_view rest : {"seven b", "HELLO, WORLD", "and a third one"}) {
              const std::string frame = FrameByDefinition(
                  options, absl::string_view("head!").substr(0, static_cast<size_t>(offset)), rest);
              const size_t stripped =
                  strip < 0 ? frame.size() - rest.size() : static_cast<size_t>(strip);
              bytes += frame;
              messages.push_back(frame.substr(stripped));
            }
            const Decoded decoded = DecodeEveryWay(codec, bytes);
            EXPECT_EQ(decoded.messages, messages);
            EXPECT_EQ(decoded.status, absl::OkStatus());

            if (codec.can_encode()) {
              ++encodable;
              codec_testing::ExpectRoundTrip(codec, messages);
              codec_testing::ExpectSameWhenEncodedAgain(codec, bytes);
            } else {
              EXPECT_EQ(TryEncode(codec, messages[0]), EncodeResult::kInvalid);
            }
            if (HasFailure()) return;
          }
        }
      }
    }
  }
  EXPECT_EQ(combinations, 6 * 2 * 3 * 4 * 6);
  // Stripped: nothing; of fixed lengths without an offset, the length or a part of it; of a varint,
  // all of it.
  EXPECT_EQ(encodable, 2 * 4 * (6 * 3 + 6 + (1 + 2 + 2 + 3 + 4)));
}

TEST(FrameCodecTest, ASizeAtEveryBoundaryOfTheLengthField) {
  for (const int length_bytes : {1, 2, 3, 4, 8, FrameOptions::kVarint}) {
    for (const ByteOrder order : {ByteOrder::kBigEndian, ByteOrder::kLittleEndian}) {
      FrameOptions options;
      options.length_bytes = length_bytes;
      options.byte_order = order;
      const FrameCodec codec = Make(options);
      for (const size_t size : {0, 1, 127, 128, 255, 256, 16383, 16384, 65535, 65536}) {
        const bool fits = (length_bytes != 1 || size < 256) && (length_bytes != 2 || size < 65536);
        const std::string message(size, 'm');
        if (!fits) {
          EXPECT_EQ(TryEncode(codec, message), EncodeResult::kTooLong);
          continue;
        }
        const std::string frame = Encoded(codec, message);
        EXPECT_EQ(frame, FrameByDefinition(options, "", message));
        const Decoded decoded = Decode(codec, frame + frame, {1, 1, 1, size});
        EXPECT_THAT(decoded.messages, ElementsAre(message, message));
      }
    }
  }
}

TEST(FrameCodecTest, ATruncatedFrameIsNeitherAMessageNorAnError) {
  for (const int length_bytes : {1, 2, 3, 4, 8, FrameOptions::kVarint}) {
    FrameOptions options;
    options.length_bytes = length_bytes;
    const FrameCodec codec = Make(options);
    const std::string frame = Encoded(codec, std::string(200, 'm'));
    for (size_t size = 0; size < frame.size(); ++size) {
      const Decoded decoded = Decode(codec, absl::string_view(frame).substr(0, size));
      EXPECT_THAT(decoded.messages, IsEmpty());
      EXPECT_EQ(decoded.status, absl::OkStatus());
      EXPECT_EQ(decoded.unfinished, size);
    }
  }
}

size_t WantOf(FrameCodec codec, absl::string_view text) {
  std::string bytes(text);
  absl::Span<uint8_t> message;
  return codec.Decode(absl::MakeSpan(reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size()), message)
      .want();
}

TEST(FrameCodecTest, TellsHowManyBytesItWants) {
  EXPECT_EQ(WantOf(FrameCodec(), ""), 4u);
  EXPECT_EQ(WantOf(FrameCodec(), Bytes("000000")), 4u);
  EXPECT_EQ(WantOf(FrameCodec(), Bytes("00000100")), 260u);
  EXPECT_EQ(WantOf(FrameCodec(), Bytes("00000100 'abc'")), 260u);

  FrameOptions header;
  header.length_bytes = 2;
  header.length_offset = 3;
  header.length_adjustment = 1;
  EXPECT_EQ(WantOf(Make(header), Bytes("CA")), 5u);
  EXPECT_EQ(WantOf(Make(header), Bytes("CAFECA 0004")), 10u);

  FrameOptions varint;
  varint.length_bytes = FrameOptions::kVarint;
  EXPECT_EQ(WantOf(Make(varint), Bytes("80")), 2u);
  EXPECT_EQ(WantOf(Make(varint), Bytes("8001")), 130u);
}

TEST(FrameCodecTest, AMessageOfNothing) {
  EXPECT_THAT(DecodeEveryWay(FrameCodec(), Bytes("00000000 00000000 00000001 'x'")).messages,
              ElementsAre("", "", "x"));
}

// Limits and errors.

TEST(FrameCodecTest, AMessageAtTheLimitPassesAndOneByteMoreDoesNot) {
  FrameOptions options;
  options.max_message_bytes = 5;
  for (const int length_bytes : {1, 2, 3, 4, 8, FrameOptions::kVarint}) {
    options.length_bytes = length_bytes;
    EXPECT_THAT(DecodeEveryWay(Make(options), FrameByDefinition(options, "", "fiver")).messages,
                ElementsAre("fiver"));
    EXPECT_EQ(ErrorOf(options, FrameByDefinition(options, "", "sixsix")), FrameError::kTooLong);
    EXPECT_EQ(TryEncode(Make(options), "fiver"), EncodeResult::kEncoded);
    EXPECT_EQ(TryEncode(Make(options), "sixsix"), EncodeResult::kTooLong);
  }
}

TEST(FrameCodecTest, TheLimitIsOfWhatIsLeftAfterStripping) {
  FrameOptions options;
  options.length_bytes = 2;
  options.max_message_bytes = 5;
  options.bytes_to_strip = 0;
  EXPECT_THAT(Decode(Make(options), Bytes("0003 'abc'")).messages,
              ElementsAre(Bytes("0003 'abc'")));
  EXPECT_EQ(ErrorOf(options, Bytes("0004 'abcd'")), FrameError::kTooLong);
  options.bytes_to_strip = 4;
  EXPECT_THAT(Decode(Make(options), Bytes("0007 'abcdefg'")).messages, ElementsAre("cdefg"));
  EXPECT_EQ(ErrorOf(options, Bytes("0008 'abcdefgh'")), FrameError::kTooLong);
}

TEST(FrameCodecTest, AMessageOverTheLimitFailsAsSoonAsItsLengthIsThere) {
  const Decoded decoded = DecodeEveryWay(FrameCodec(), Bytes("00000001 'x' 7FFFFFFF"));
  EXPECT_THAT(decoded.messages, ElementsAre("x"));
  EXPECT_EQ(decoded.status,
            absl::ResourceExhaustedError("a frame's message of 2147483647 bytes is over the limit "
                                         "of 1048576 (max_message_bytes)"));
}

TEST(FrameCodecTest, ALengthThatIsTooShortForItsAdjustment) {
  FrameOptions options;
  options.length_bytes = 2;
  options.length_adjustment = -2;
  EXPECT_THAT(DecodeEveryWay(Make(options), Bytes("0002")).messages, ElementsAre(""));
  EXPECT_EQ(ErrorOf(options, Bytes("0001")), FrameError::kTooShort);
  EXPECT_EQ(ErrorOf(options, Bytes("0000")), FrameError::kTooShort);
  EXPECT_EQ(ErrorTextOf(options, Bytes("0001")),
            "a frame's length of 1, adjusted by -2, ends the frame before its length field does");
}

TEST(FrameCodecTest, AFrameThatIsShorterThanWhatIsStripped) {
  FrameOptions options;
  options.length_bytes = 2;
  options.bytes_to_strip = 4;
  EXPECT_THAT(DecodeEveryWay(Make(options), Bytes("0002 'ab' 0003 'abc'")).messages,
              ElementsAre("", "c"));
  EXPECT_EQ(ErrorOf(options, Bytes("0001 'a'")), FrameError::kStripBeyondFrame);
  EXPECT_EQ(ErrorTextOf(options, Bytes("0001 'a'")),
            "a frame of 3 bytes is shorter than the 4 to strip (bytes_to_strip)");
}

TEST(FrameCodecTest, ALengthOfEightBytesThatOverflows) {
  FrameOptions options;
  options.length_bytes = 8;
  for (const int64_t adjustment :
       {int64_t{0}, int64_t{-9}, int64_t{9}, int64_t{2147483647}, int64_t{-2147483648}}) {
    options.length_adjustment = adjustment;
    options.max_message_bytes = 2147483647;
    EXPECT_EQ(ErrorOf(options, Bytes("FFFFFFFFFFFFFFFF")), FrameError::kLengthOverflow);
    EXPECT_EQ(ErrorOf(options, Bytes("8000000000000000")), FrameError::kLengthOverflow);
    EXPECT_EQ(ErrorOf(options, Bytes("7FFFFFFFFFFFFFFF")), FrameError::kTooLong);
  }
  EXPECT_THAT(ErrorTextOf(options, Bytes("FFFFFFFFFFFFFFFF")),
              HasSubstr("2^63 or more, over the limit of 2147483647"));
}

TEST(FrameCodecTest, AVarintThatIsWrong) {
  FrameOptions options;
  options.length_bytes = FrameOptions::kVarint;
  // Nine bytes of seven bits and one more are 2^64 - 1, which is over the limit of 2^63; a further
  // bit is not there.
  EXPECT_EQ(ErrorOf(options, Bytes("FFFFFFFFFFFFFFFFFF01")), FrameError::kLengthOverflow);
  EXPECT_EQ(ErrorOf(options, Bytes("FFFFFFFFFFFFFFFFFF02")), FrameError::kLengthOverflow);
  EXPECT_EQ(ErrorOf(options, Bytes("FFFFFFFFFFFFFFFF7F")), FrameError::kTooLong);
  EXPECT_EQ(ErrorOf(options, Bytes("8080808080808080808001")), FrameError::kVarintTooLong);
  EXPECT_EQ(ErrorOf(options, Bytes("FFFFFFFFFFFFFFFFFFFF01")), FrameError::kVarintTooLong);
  EXPECT_EQ(ErrorOf(options, Bytes("8000")), FrameError::kVarintPadded);
  EXPECT_EQ(ErrorOf(options, Bytes("83808000 'abc'")), FrameError::kVarintPadded);
  EXPECT_THAT(ErrorTextOf(options, Bytes("83808000 'abc'")),
              HasSubstr("length of 3 is a varint of more bytes than it needs"));
}

// Found by fuzzing: a varint that goes on may be longer than the longest message.
TEST(FrameCodecTest, AVarintThatIsLongerThanTheLimitIsKeptWithinTheFrameLimit) {
  FrameOptions options;
  options.length_bytes = FrameOptions::kVarint;
  options.bytes_to_strip = 0;
  options.max_message_bytes = 1;
  const Decoded decoded = DecodeEveryWay(Make(options), Bytes("FFFFFFFFFF"));
  EXPECT_EQ(decoded.unfinished, 5u);
  EXPECT_EQ(ErrorOf(options, Bytes("FFFFFFFFFF01")), FrameError::kTooLong);
}

TEST(FrameCodecTest, EncodingGoesOnAfterAnErrorOfDecoding) {
  FrameCodec codec;
  std::string bytes = Bytes("FFFFFFFF");
  absl::Span<uint8_t> message;
  EXPECT_EQ(codec.Decode(absl::MakeSpan(reinterpret_cast<uint8_t*>(&bytes[0]), 4), message),
            DecodeResult::Error());
  EXPECT_EQ(codec.error(), FrameError::kTooLong);
  EXPECT_EQ(Encoded(codec, "sorry"), Bytes("00000005 'sorry'"));
}

FrameCodec SmallFrames(int length_bytes) {
  FrameOptions options;
  options.length_bytes = length_bytes;
  options.max_message_bytes = 250;
  return Make(options);
}

TEST(FrameCodecTest, KeepsItsPromises) {
  const auto message = [](std::minstd_rand& random) {
    return std::string(random() % 251, static_cast<char>(random()));
  };
  for (const int length_bytes : {1, 2, 3, 4, 8, FrameOptions::kVarint}) {
    codec_testing::ExpectKeepsPromises(SmallFrames(length_bytes), message);
  }
  codec_testing::ExpectConverses(SmallFrames(4), message);
}

TEST(FrameCodecTest, SurvivesGarbage) {
  for (const int length_bytes : {1, 2, 3, 4, 8, FrameOptions::kVarint}) {
    for (const int64_t adjustment : {0, -3, 2}) {
      for (const int64_t strip : {-1, 0, 5}) {
        FrameOptions options;
        options.length_bytes = length_bytes;
        options.length_offset = 1;
        options.length_adjustment = adjustment;
        options.bytes_to_strip = strip;
        options.max_message_bytes = 300;
        const std::string frame = FrameByDefinition(options, "h", "HELLO, WORLD");
        codec_testing::ExpectSurvivesGarbage(Make(options), frame + frame + frame, 300);
      }
    }
  }
}

// Encoding.

TEST(FrameCodecTest, SharesTheBytesOfSlicesAndBuffers) {
  const Slice payload = Slice::Copy(std::string(5000, 'p'));
  Buffer out;
  EXPECT_EQ(FrameCodec().Encode(payload, out), EncodeResult::kEncoded);
  Buffer chain;
  chain.Append(payload.Subslice(0, 2000));
  chain.Append(payload.Subslice(2500, 2500));
  EXPECT_EQ(FrameCodec().Encode(std::move(chain), out), EncodeResult::kEncoded);
  EXPECT_EQ(out.ToString(), Bytes("00001388") + std::string(5000, 'p') + Bytes("00001194") +
                                std::string(4500, 'p'));
  out.Drain(4);
  EXPECT_EQ(out.front().data(), payload.data());
  out.Drain(5000 + 4);
  EXPECT_EQ(out.front().data(), payload.data());
  out.Drain(2000);
  EXPECT_EQ(out.front().data(), payload.data() + 2500);
}

TEST(FrameCodecTest, EncodesAlikeFromSpansSlicesAndBuffers) {
  FrameOptions options;
  options.length_bytes = 3;
  options.length_offset = 2;
  options.bytes_to_strip = 0;
  for (const int length_bytes : {3, FrameOptions::kVarint}) {
    options.length_bytes = length_bytes;
    const FrameCodec codec = Make(options);
    // The length that stands in the message is put right.
    const std::string message =
        Bytes(length_bytes == 3 ? "CAFE 112233 'HELLO, WORLD'" : "CAFE F055 'HELLO, WORLD'");
    const std::string frame =
        Bytes(length_bytes == 3 ? "CAFE 00000C 'HELLO, WORLD'" : "CAFE 0C 'HELLO, WORLD'");
    EXPECT_EQ(Encoded(codec, message), frame);
    Buffer from_slice;
    EXPECT_EQ(codec.Encode(Slice::Copy(message), from_slice), EncodeResult::kEncoded);
    EXPECT_EQ(from_slice.ToString(), frame);
    // In pieces of one byte.
    Buffer chain;
    for (const char byte : message) chain.Append(Slice::Copy(absl::string_view(&byte, 1)));
    Buffer from_chain;
    EXPECT_EQ(codec.Encode(std::move(chain), from_chain), EncodeResult::kEncoded);
    EXPECT_EQ(from_chain.ToString(), frame);
    Buffer from_span;
    EXPECT_EQ(codec.Encode(AsSpan(message), from_span), EncodeResult::kEncoded);
    EXPECT_EQ(from_span.ToString(), frame);
  }
}

TEST(FrameCodecTest, AMessageWithoutTheFieldsThatItMustHaveIsInvalid) {
  FrameOptions options;
  options.length_bytes = 2;
  options.length_offset = 3;
  options.bytes_to_strip = 0;
  EXPECT_EQ(TryEncode(Make(options), "four"), EncodeResult::kInvalid);
  EXPECT_EQ(TryEncode(Make(options), "fiver"), EncodeResult::kEncoded);

  options.length_bytes = FrameOptions::kVarint;
  EXPECT_EQ(TryEncode(Make(options), "two"), EncodeResult::kInvalid);
  EXPECT_EQ(TryEncode(Make(options), Bytes("CAFECA 80")), EncodeResult::kInvalid);
  EXPECT_EQ(TryEncode(Make(options), Bytes("CAFECA 8001")), EncodeResult::kEncoded);

  FrameOptions extra;  // two bytes follow the length that it does not count
  extra.length_adjustment = 2;
  EXPECT_EQ(TryEncode(Make(extra), "1"), EncodeResult::kInvalid);
  EXPECT_EQ(Encoded(Make(extra), "12"), Bytes("00000000 '12'"));

  FrameOptions half;  // the second half of the length stays in the message
  half.bytes_to_strip = 2;
  EXPECT_EQ(TryEncode(Make(half), "1"), EncodeResult::kInvalid);
  EXPECT_EQ(Encoded(Make(half), "12abc"), Bytes("00000003 'abc'"));
}

TEST(FrameCodecTest, AVarintThatBecomesLongerCountsAgainstTheLimit) {
  FrameOptions options;
  options.length_bytes = FrameOptions::kVarint;
  options.bytes_to_strip = 0;
  options.max_message_bytes = 201;
  // One byte of a length in the message becomes two in the frame.
  EXPECT_EQ(TryEncode(Make(options), "\x01" + std::string(199, 'm')), EncodeResult::kEncoded);
  EXPECT_EQ(TryEncode(Make(options), "\x01" + std::string(200, 'm')), EncodeResult::kTooLong);
}

TEST(FrameCodecTest, TheLengthFieldBoundsWhatCanBeEncoded) {
  FrameOptions options;
  options.length_bytes = 1;
  options.length_adjustment = -1;  // counts itself
  EXPECT_EQ(TryEncode(Make(options), std::string(254, 'm')), EncodeResult::kEncoded);
  EXPECT_EQ(TryEncode(Make(options), std::string(255, 'm')), EncodeResult::kTooLong);
}

// Options.

absl::Status CreateStatus(void (*change)(FrameOptions&)) {
  FrameOptions options;
  change(options);
  return FrameCodec::Create(options).status();
}

TEST(FrameOptionsTest, SayWhatIsWrongAndWhatIsAccepted) {
  EXPECT_EQ(
      CreateStatus([](FrameOptions& o) { o.length_bytes = 5; }),
      absl::InvalidArgumentError("length_bytes is 5; accepted: 1, 2, 3, 4, 8, or 0 for a varint"));
  EXPECT_EQ(CreateStatus([](FrameOptions& o) { o.length_bytes = -1; }).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateStatus([](FrameOptions& o) { o.length_offset = -1; }),
            absl::InvalidArgumentError("length_offset is -1; accepted: 0 to 65535"));
  EXPECT_EQ(CreateStatus([](FrameOptions& o) { o.length_offset = 65536; }),
            absl::InvalidArgumentError("length_offset is 65536; accepted: 0 to 65535"));
  EXPECT_EQ(CreateStatus([](FrameOptions& o) { o.length_adjustment = 2147483648; }),
            absl::InvalidArgumentError(
                "length_adjustment is 2147483648; accepted: -2147483648 to 2147483647"));
  EXPECT_EQ(CreateStatus([](FrameOptions& o) { o.bytes_to_strip = -2; }),
            absl::InvalidArgumentError("bytes_to_strip is -2; accepted: 0 to 2147483647, or -1 for "
                                       "all up to and including the length"));
  EXPECT_EQ(CreateStatus([](FrameOptions& o) { o.max_message_bytes = 0; }),
            absl::InvalidArgumentError("max_message_bytes is 0; accepted: 1 to 2147483647"));
  EXPECT_EQ(
      CreateStatus([](FrameOptions& o) { o.max_message_bytes = 2147483648; }),
      absl::InvalidArgumentError("max_message_bytes is 2147483648; accepted: 1 to 2147483647"));
}

TEST(FrameOptionsTest, WithWhichNoFrameCouldBeRightAreRefused) {
  EXPECT_EQ(CreateStatus([](FrameOptions& o) {
              o.length_bytes = 1;
              o.length_adjustment = -256;
            }),
            absl::InvalidArgumentError("length_adjustment is -256; accepted: -255 or more, since a "
                                       "length of 1 byte(s) is at most 255"));
  EXPECT_EQ(CreateStatus([](FrameOptions& o) {
              o.bytes_to_strip = 0;
              o.length_offset = 3;
              o.length_adjustment = 5;
              o.max_message_bytes = 11;
            }),
            absl::InvalidArgumentError("max_message_bytes is 11; accepted: 12 or more, which the "
                                       "shortest message has with these options"));
}

TEST(FrameOptionsTest, AtTheEdgesAreAccepted) {
  EXPECT_TRUE(CreateStatus([](FrameOptions& o) {
                o.length_bytes = 8;
                o.length_offset = 65535;
                o.length_adjustment = -2147483648;
                o.bytes_to_strip = 2147483647;
                o.max_message_bytes = 2147483647;
              }).ok());
  EXPECT_TRUE(CreateStatus([](FrameOptions& o) {
                o.length_bytes = 1;
                o.length_adjustment = -255;
                o.max_message_bytes = 1;
              }).ok());
}

TEST(FrameCodecTest, TheFrameLimitIsTheMessageLimitAndWhatIsStripped) {
  EXPECT_EQ(FrameCodec().max_frame_bytes(), 1024u * 1024 + 4);
  FrameOptions options;
  options.length_bytes = FrameOptions::kVarint;
  options.length_offset = 7;
  options.max_message_bytes = 100;
  EXPECT_EQ(Make(options).max_frame_bytes(), 100u + 7 + 10);
  options.bytes_to_strip = 3;
  EXPECT_EQ(Make(options).max_frame_bytes(), 100u + 3);
  options.max_message_bytes = 5;
  EXPECT_EQ(Make(options).max_frame_bytes(), 7u + 10);
  options.max_message_bytes = 100;
  EXPECT_EQ(Make(options).max_message_bytes(), 100u);
}

}  // namespace
}  // namespace sluice::framing
