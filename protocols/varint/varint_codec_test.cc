#include "sluice/protocols/varint/varint_codec.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace sluice::varint {
namespace {

using ::sluice::codec_testing::Decode;
using ::sluice::codec_testing::Decoded;
using ::sluice::codec_testing::DecodeEveryWay;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

static_assert(HasReusableFrames<VarintCodec>);
static_assert(EncoderOf<VarintCodec, absl::string_view>);
static_assert(EncoderOf<VarintCodec, Slice>);
static_assert(EncoderOf<VarintCodec, Buffer>);
static_assert(std::is_trivially_copyable_v<VarintCodec>);
static_assert(sizeof(VarintCodec) == 16);

// "80 01"
std::string Bytes(absl::string_view hex) {
  return absl::HexStringToBytes(absl::StrReplaceAll(hex, {{" ", ""}}));
}

std::string Encoded(const VarintCodec& codec, absl::string_view message) {
  Buffer out;
  EXPECT_EQ(codec.Encode(message, out), EncodeResult::kEncoded);
  return out.ToString();
}

std::string AnyMessage(std::minstd_rand& random) {
  std::string message(random() % 300, '\0');
  for (char& c : message) c = static_cast<char>(random());
  return message;
}

TEST(VarintCodecTest, HeaderExample) {
  sluice::varint::VarintCodec codec;
  sluice::Buffer out;
  codec.Encode("hello", out);
  std::string bytes = out.ToString();
  EXPECT_EQ(bytes, "\x05hello");

  absl::Span<uint8_t> in(reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size());
  absl::Span<uint8_t> message;
  codec.Decode(in, message);
  EXPECT_EQ(message.data(), in.data() + 1);
  EXPECT_EQ(codec_testing::DescribeMessage(message), "hello");
}

TEST(VarintCodecTest, KeepsItsPromises) {
  codec_testing::ExpectKeepsPromises(VarintCodec(500), AnyMessage);
}

TEST(VarintCodecTest, ConversesOverABadNetwork) {
  codec_testing::ExpectConverses(VarintCodec(500), AnyMessage);
}

// protobuf's encoding page: `message Test1 {int32 a = 1;}` with a of 150 is 08 96 01, and
// `message Test2 {string b = 2;}` with b of "testing" is 12 07 and the text. Delimited, each has
// its size in front.
TEST(VarintCodecTest, ADelimitedStreamOfProtobuf) {
  const std::string stream = Bytes("03 08 96 01  09 12 07 74 65 73 74 69 6e 67  00");
  const Decoded decoded = codec_testing::ExpectSameWhenEncodedAgain(VarintCodec(), stream);
  EXPECT_THAT(decoded.messages, ElementsAre(Bytes("08 96 01"), "\x12\x07testing", ""));
  EXPECT_EQ(decoded.unfinished, 0u);
}

// The table in the header, and each boundary; the bytes are written out by the definition.
TEST(VarintCodecTest, ALengthAtEachBoundary) {
  struct Length {
    size_t size;
    const char* bytes;
  };
  for (const auto& [size, head] :
       {Length{0, "00"}, Length{1, "01"}, Length{127, "7F"}, Length{128, "80 01"},
        Length{300, "AC 02"}, Length{16383, "FF 7F"}, Length{16384, "80 80 01"},
        Length{2097151, "FF FF 7F"}, Length{2097152, "80 80 80 01"}}) {
    const VarintCodec codec(4 << 20);
    const std::string message(size, 'm');
    const std::string frame = Encoded(codec, message);
    EXPECT_TRUE(frame == Bytes(head) + message) << size;
    EXPECT_THAT(Decode(codec, frame + frame, {1, 1, 1, size}).messages,
                ElementsAre(message, message));
  }
}

TEST(VarintCodecTest, LongerVarintsThanNeedBeAreAcceptedUpToTenBytes) {
  for (const char* const head : {"02", "82 00", "82 80 00", "82 80 80 80 00", "82 80 80 80 80 00",
                                 "82 80 80 80 80 80 80 80 80 00"}) {
    const Decoded decoded = DecodeEveryWay(VarintCodec(500), Bytes(head) + "hi" + "\x01!");
    EXPECT_THAT(decoded.messages, ElementsAre("hi", "!")) << head;
    EXPECT_EQ(decoded.status, absl::OkStatus()) << head;
  }
  EXPECT_EQ(Encoded(VarintCodec(500), "hi"), "\x02hi");
}

TEST(VarintCodecTest, ElevenBytesAreNoVarint) {
  for (const char* const head :
       {"80 80 80 80 80 80 80 80 80 80 00", "80 80 80 80 80 80 80 80 80 02",
        "FF FF FF FF FF FF FF FF FF 7F"}) {
    const VarintCodec codec(500);
    EXPECT_EQ(DecodeEveryWay(codec, Bytes(head)).status,
              absl::InvalidArgumentError(
                  "a message's length is a varint of more than 64 bits, in ten bytes or more"));
    codec_testing::Feeder<VarintCodec> feeder(codec);
    feeder.Feed(Bytes(head));
    EXPECT_EQ(feeder.codec().error(), VarintError::kNotVarint);
  }
}

TEST(VarintCodecTest, ALengthOverTheLimitIsAnErrorThatNamesBoth) {
  const VarintCodec codec(500);
  struct Length {
    const char* bytes;
    const char* found;
  };
  for (const auto& [head, found] :
       {Length{"F5 03", "501"}, Length{"FF FF FF FF 07", "2147483647"},
        // One that protobuf's readers would take for 0, as they drop what is over 32 bits.
        Length{"80 80 80 80 10", "4294967296"},
        // What a negative number becomes.
        Length{"FF FF FF FF FF FF FF FF FF 01", "18446744073709551615"}}) {
    const Decoded decoded = DecodeEveryWay(codec, Bytes(head) + "and what follows");
    EXPECT_THAT(decoded.messages, IsEmpty());
    EXPECT_EQ(decoded.status,
              absl::ResourceExhaustedError(absl::StrCat(
                  "a message of ", found, " bytes is over the limit of 500 (max_message_bytes)")));
  }
  // The fast path for one byte has the limit, too.
  EXPECT_FALSE(DecodeEveryWay(VarintCodec(5), "\x06sixsix").status.ok());
}

TEST(VarintCodecTest, AMessageAtTheLimitPassesAndOneByteMoreDoesNot) {
  const VarintCodec codec(10);
  codec_testing::ExpectRoundTrip(codec, {"ten bytes.", ""});
  Buffer out;
  EXPECT_EQ(codec.Encode("eleven byte", out), EncodeResult::kTooLong);
  EXPECT_EQ(codec.Encode(Slice::Copy("eleven byte"), out), EncodeResult::kTooLong);
  EXPECT_TRUE(out.empty());
}

TEST(VarintCodecTest, TheSmallestAndTheLargestLimit) {
  EXPECT_THAT(DecodeEveryWay(VarintCodec(0), std::string(2, '\0')).messages, ElementsAre("", ""));
  EXPECT_FALSE(Decode(VarintCodec(0), "\x01").status.ok());

  const VarintCodec largest(4294967295);
  EXPECT_EQ(largest.max_frame_bytes(), size_t{10} + 4294967295);
  EXPECT_TRUE(Decode(largest, Bytes("FF FF FF FF 0F 00")).status.ok());
  EXPECT_FALSE(Decode(largest, Bytes("80 80 80 80 10 00")).status.ok());
}

TEST(VarintCodecTest, EncodesTextSpansSlicesAndBuffers) {
  const VarintCodec codec;
  Buffer out;
  EXPECT_EQ(codec.Encode("literal", out), EncodeResult::kEncoded);
  EXPECT_EQ(codec.Encode(Slice::Copy("slice"), out), EncodeResult::kEncoded);
  Buffer buffer;
  buffer.Append("buffer");
  EXPECT_EQ(codec.Encode(std::move(buffer), out), EncodeResult::kEncoded);
  EXPECT_EQ(codec.Encode(Buffer(), out), EncodeResult::kEncoded);
  EXPECT_EQ(out.ToString(), absl::StrCat("\7literal", "\5slice", "\6buffer", std::string(1, '\0')));
}

TEST(VarintCodecTest, TellsHowManyBytesItWants) {
  const auto want = [](std::string bytes) {
    absl::Span<uint8_t> message;
    return VarintCodec()
        .Decode({reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size()}, message)
        .want();
  };
  EXPECT_EQ(want(""), 1u);
  EXPECT_EQ(want(Bytes("05")), 6u);
  EXPECT_EQ(want(Bytes("80")), 2u);
  EXPECT_EQ(want(Bytes("80 80")), 3u);
  EXPECT_EQ(want(Bytes("80 01 00")), 130u);
  EXPECT_EQ(want(Bytes("80 80 01 00")), 16387u);
}

}  // namespace
}  // namespace sluice::varint
