#include "sluice/protocols/usp/zlib_frame_codec.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
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
#include "sluice/protocols/codec/any_codec.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace sluice::usp {
namespace {

using ::sluice::codec_testing::Decode;
using ::sluice::codec_testing::Decoded;
using ::sluice::codec_testing::DecodeEveryWay;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// As Python's struct.pack("<I", ...) and zlib.compress(..., level=5) make it.
constexpr char kHello[] = "0D000000 785ECB48CDC9C90700062C0215";
constexpr char kEmpty[] = "08000000 785E030000000001";

std::string Bytes(absl::string_view hex) {
  std::string bytes;
  while (!hex.empty()) {
    const size_t used = hex[0] == ' ' ? 1 : 2;
    if (used == 2) bytes += absl::HexStringToBytes(hex.substr(0, 2));
    hex.remove_prefix(used);
  }
  return bytes;
}

// A length, and a zlib stream in hex.
std::string Frame(absl::string_view stream) {
  const std::string bytes = Bytes(stream);
  return std::string{static_cast<char>(bytes.size()), 0, 0, 0} + bytes;
}

ZlibFrameCodec Make(const ZlibFrameOptions& options) {
  absl::StatusOr<ZlibFrameCodec> codec = ZlibFrameCodec::Create(options);
  EXPECT_TRUE(codec.ok()) << codec.status();
  return codec.ok() ? *std::move(codec) : ZlibFrameCodec();
}
ZlibFrameCodec Limited(int64_t max_message_bytes) {
  return Make({.max_message_bytes = max_message_bytes});
}

std::string Encoded(const ZlibFrameCodec& codec, absl::string_view message) {
  Buffer out;
  EXPECT_EQ(codec.Encode(message, out), EncodeResult::kEncoded);
  return out.ToString();
}

EncodeResult TryEncode(const ZlibFrameCodec& codec, absl::string_view message) {
  Buffer out;
  const EncodeResult result = codec.Encode(message, out);
  EXPECT_EQ(out.empty(), result != EncodeResult::kEncoded);
  return result;
}

// Does not become smaller.
std::string Noise(size_t size) {
  std::minstd_rand random(1);
  std::string bytes(size, 0);
  for (char& byte : bytes) byte = static_cast<char>(random() >> 8);
  return bytes;
}

absl::Status ErrorOf(const ZlibFrameCodec& codec, absl::string_view bytes) {
  const Decoded decoded = DecodeEveryWay(codec, bytes);
  EXPECT_THAT(decoded.messages, IsEmpty());
  return decoded.status;
}

TEST(ZlibFrameCodecTest, HeaderExample) {
  sluice::usp::ZlibFrameCodec codec;
  sluice::Buffer out;
  codec.Encode("hello", out);
  std::string bytes = out.ToString();
  EXPECT_EQ(bytes, Bytes(kHello));

  absl::Span<uint8_t> in(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  absl::Span<uint8_t> message;
  EXPECT_EQ(codec.Decode(in, message), DecodeResult::Message(bytes.size()));
  EXPECT_EQ(codec_testing::DescribeMessage(message), "hello");
}

// Random sizes and contents, below the limit and up to it.
std::string AnyMessage(std::minstd_rand& random) {
  std::string message = Noise(random() % 4 == 0 ? random() % 2049 : random() % 64);
  for (char& byte : message) {
    if (random() % 2 == 0) byte = 'x';
  }
  return message;
}

TEST(ZlibFrameCodecTest, KeepsItsPromises) {
  codec_testing::ExpectKeepsPromises(Limited(2048), AnyMessage);
}

TEST(ZlibFrameCodecTest, KeepsThemWithTheOtherByteOrder) {
  codec_testing::ExpectKeepsPromises(
      Make({.max_message_bytes = 2048, .byte_order = std::endian::big}), AnyMessage);
}

TEST(ZlibFrameCodecTest, ConversesOverABadNetwork) {
  codec_testing::ExpectConverses(Limited(2048), AnyMessage);
}

TEST(ZlibFrameCodecTest, DecodesWhatThePortSends) {
  const Decoded decoded =
      DecodeEveryWay(ZlibFrameCodec(), Bytes(absl::StrCat(kHello, kEmpty, kHello, "0D0000")));
  EXPECT_THAT(decoded.messages, ElementsAre("hello", "", "hello"));
  EXPECT_EQ(decoded.status, absl::OkStatus());
  EXPECT_EQ(decoded.unfinished, 3u);
}

TEST(ZlibFrameCodecTest, TheByteOrderIsThatOfTheLength) {
  const ZlibFrameCodec codec = Make({.byte_order = std::endian::big});
  const std::string frame = Bytes("0000000D 785ECB48CDC9C90700062C0215");
  EXPECT_EQ(Encoded(codec, "hello"), frame);
  EXPECT_THAT(DecodeEveryWay(codec, frame).messages, ElementsAre("hello"));
}

TEST(ZlibFrameCodecTest, DecodesEveryLevel) {
  const std::string text = "hello hello hello";
  for (const char* stream :
       {"7801011100EEFF68656C6C6F2068656C6C6F2068656C6C6F3A2E067D",
        "7801CB48CDC9C957C84090003A2E067D", "78DACB48CDC9C957C84090003A2E067D"})
    EXPECT_THAT(DecodeEveryWay(ZlibFrameCodec(), Frame(stream)).messages, ElementsAre(text));
  for (int level = 1; level <= 9; ++level) {
    const ZlibFrameCodec codec = Make({.level = level});
    const std::string once = Encoded(codec, text);
    EXPECT_THAT(Decode(codec, once).messages, ElementsAre(text));
    // Another level in between, on the same thread.
    EXPECT_EQ(Encoded(ZlibFrameCodec(), "hello"), Bytes(kHello));
    EXPECT_EQ(Encoded(codec, text), once);
  }
}

TEST(ZlibFrameCodecTest, RoundTripsMessagesOfEverySize) {
  std::vector<std::string> messages = {""};
  for (const size_t size : {1, 2, 100, 1023, 1024, 1025, 65536, 65537, 200'000, 1024 * 1024}) {
    messages.push_back(std::string(size, 'm'));
    messages.push_back(Noise(size));
  }
  const ZlibFrameCodec codec;
  std::string bytes;
  for (const std::string& message : messages) bytes += Encoded(codec, message);
  const Decoded decoded = Decode(codec, bytes, codec_testing::Pieces(bytes.size() / 9999, 9999));
  EXPECT_EQ(decoded.messages, messages);
  EXPECT_EQ(decoded.status, absl::OkStatus());
}

TEST(ZlibFrameCodecTest, RunsAsAnAnyCodec) {
  codec_testing::ExpectRoundTrip(AnyCodec(ZlibFrameCodec()), {"hello", "", std::string(3000, 'm')});
}

// Limits.

TEST(ZlibFrameCodecTest, AMessageOfTheLimitIsFineAndOneByteMoreIsNot) {
  for (const int64_t limit : {1, 1023, 1024, 1025, 4096, 5000}) {
    const ZlibFrameCodec codec = Limited(limit);
    for (const std::string& message :
         {std::string(static_cast<size_t>(limit), 'm'), Noise(static_cast<size_t>(limit))}) {
      EXPECT_THAT(DecodeEveryWay(codec, Encoded(codec, message)).messages, ElementsAre(message));
      EXPECT_EQ(TryEncode(codec, message + "m"), EncodeResult::kTooLong);
    }
    const std::string more = Encoded(ZlibFrameCodec(), std::string(limit + 1, 'm'));
    EXPECT_EQ(Decode(codec, more).status, absl::ResourceExhaustedError(absl::StrCat(
                                              "a frame's message is over the limit of ", limit,
                                              " (max_message_bytes) when decompressed")));
  }
}

TEST(ZlibFrameCodecTest, ABombIsGivenUpAtTheLimit) {
  constexpr size_t kBomb = 50 * 1024 * 1024;
  Buffer out;
  ASSERT_EQ(Limited(kBomb).Encode(std::string(kBomb, 0), out), EncodeResult::kEncoded);
  std::string bomb = out.ToString();
  ASSERT_LT(bomb.size(), size_t{64} * 1024);

  ZlibFrameCodec codec;  // 1 MiB
  absl::Span<uint8_t> message;
  const size_t before = codec_testing::AllocatedBytes();
  EXPECT_EQ(codec.Decode({reinterpret_cast<uint8_t*>(bomb.data()), bomb.size()}, message),
            DecodeResult::Error());
  EXPECT_EQ(codec.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(codec.memory_bytes(), 0u);
  // zlib's state may be new.
  EXPECT_LT(codec_testing::AllocatedBytes(), before + 64 * 1024);
}

TEST(ZlibFrameCodecTest, ALengthOverTheLimitIsAnErrorAtOnce) {
  const ZlibFrameCodec codec = Make({.max_compressed_bytes = 100});
  EXPECT_EQ(codec.max_frame_bytes(), 104u);
  EXPECT_EQ(ErrorOf(codec, Bytes("65000000")),
            absl::ResourceExhaustedError(
                "a frame of 101 compressed bytes is over the limit of 100 (max_compressed_bytes)"));
  EXPECT_EQ(ErrorOf(ZlibFrameCodec(), Bytes("FFFFFFFF")).message(),
            "a frame of 4294967295 compressed bytes is over the limit of 1048909 "
            "(max_compressed_bytes)");
  // 100 bytes are still waited for.
  const Decoded waits = DecodeEveryWay(codec, Bytes("64000000"));
  EXPECT_EQ(waits.status, absl::OkStatus());
  EXPECT_EQ(waits.unfinished, 4u);

  EXPECT_EQ(TryEncode(codec, Noise(60)), EncodeResult::kEncoded);
  EXPECT_EQ(TryEncode(codec, Noise(100)), EncodeResult::kTooLong);
  EXPECT_EQ(TryEncode(codec, std::string(100, 'm')), EncodeResult::kEncoded);
}

TEST(ZlibFrameCodecTest, WhatCannotBeMadeSmallerFitsIntoTheDefaultLimits) {
  const std::string noise = Noise(1024 * 1024);
  const std::string frame = Encoded(ZlibFrameCodec(), noise);
  EXPECT_GT(frame.size(), noise.size());
  EXPECT_THAT(Decode(ZlibFrameCodec(), frame).messages, ElementsAre(noise));
}

// Memory.

TEST(ZlibFrameCodecTest, MemoryOfALargeMessageIsGivenBackByTheNextDecode) {
  ZlibFrameCodec codec;
  absl::Span<uint8_t> message;
  const auto decode = [&](std::string bytes) {
    const absl::Span<uint8_t> in(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
    return codec.Decode(in, message).kind;
  };
  EXPECT_EQ(codec.memory_bytes(), 0u);
  EXPECT_EQ(decode(Bytes(kHello)), DecodeResult::Kind::kMessage);
  EXPECT_GT(codec.memory_bytes(), 0u);
  EXPECT_LE(codec.memory_bytes(), 1024u);

  EXPECT_EQ(decode(Encoded(codec, std::string(1'000'000, 'm'))), DecodeResult::Kind::kMessage);
  EXPECT_GE(codec.memory_bytes(), 1'000'000u);
  EXPECT_LE(codec.memory_bytes(), 1024u * 1024 + 1);
  EXPECT_EQ(decode(""), DecodeResult::Kind::kNeedMore);
  EXPECT_EQ(codec.memory_bytes(), 0u);

  EXPECT_EQ(decode(Encoded(codec, Noise(1500))), DecodeResult::Kind::kMessage);
  const uint8_t* const place = message.data();
  EXPECT_EQ(decode(Bytes(kHello)), DecodeResult::Kind::kMessage);
  EXPECT_EQ(message.data(), place);
}

TEST(ZlibFrameCodecTest, CopiesAndOthersOfTheThreadLeaveAMessageAlone) {
  ZlibFrameCodec codec;
  std::string bytes = Bytes(kHello);
  const absl::Span<uint8_t> in(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  absl::Span<uint8_t> message, other;
  ASSERT_EQ(codec.Decode(in, message).kind, DecodeResult::Kind::kMessage);
  ZlibFrameCodec copy = codec;
  EXPECT_EQ(copy.memory_bytes(), 0u);
  ASSERT_EQ(copy.Decode(in, other).kind, DecodeResult::Kind::kMessage);
  other[0] = 'H';
  (void)Encoded(codec, "and so on");
  EXPECT_EQ(codec_testing::DescribeMessage(message), "hello");
  const ZlibFrameCodec moved = std::move(codec);
  EXPECT_EQ(codec_testing::DescribeMessage(message), "hello");
}

// What is no zlib stream, or no whole one, or more than one.

TEST(ZlibFrameCodecTest, AStreamThatEndsTooEarlyIsAnError) {
  const std::string whole = Bytes(kHello).substr(4);
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string frame = std::string{static_cast<char>(size), 0, 0, 0} + whole.substr(0, size);
    EXPECT_EQ(ErrorOf(ZlibFrameCodec(), frame),
              absl::InvalidArgumentError("a frame's zlib stream ends too early"));
  }
}

TEST(ZlibFrameCodecTest, BytesBehindTheStreamAreAnError) {
  EXPECT_EQ(ErrorOf(ZlibFrameCodec(), Frame("785ECB48CDC9C90700062C021500")),
            absl::InvalidArgumentError("a frame's zlib stream ends 1 bytes before the frame does"));
  EXPECT_THAT(
      ErrorOf(ZlibFrameCodec(), Frame("785ECB48CDC9C90700062C0215785E030000000001")).message(),
      HasSubstr("ends 8 bytes before"));
}

TEST(ZlibFrameCodecTest, DamageIsAnErrorThatSaysWhat) {
  const std::pair<const char*, const char*> kCases[] = {
      {"785ECB48CDC9C90700062C0216", "is damaged: incorrect data check"},
      {"CB48CDC9C90700", "is damaged: incorrect header check"},  // a bare deflate stream
      {"1F8B0800D55E0A6B02FFCB48CDC9C9070086A6103605000000",
       "is damaged: incorrect header check"},  // gzip
      {"68656C6C6F", "is damaged: incorrect header check"},
      {"785E07", "is damaged: invalid block type"},
      {"787D19910449CB40302124003A2E067D", "asks for a dictionary, and there is none"},
  };
  for (const auto& [stream, error] : kCases) {
    EXPECT_EQ(ErrorOf(ZlibFrameCodec(), Frame(stream)),
              absl::InvalidArgumentError(absl::StrCat("a frame's zlib stream ", error)));
  }
}

TEST(ZlibFrameCodecTest, MessagesBeforeAnErrorAreDelivered) {
  const Decoded decoded =
      DecodeEveryWay(ZlibFrameCodec(), Bytes(absl::StrCat(kHello, "00000000", kHello)));
  EXPECT_THAT(decoded.messages, ElementsAre("hello"));
  EXPECT_EQ(decoded.status, absl::InvalidArgumentError("a frame's zlib stream ends too early"));
}

TEST(ZlibFrameCodecTest, AnErrorDoesNotKeepItFromEncoding) {
  ZlibFrameCodec codec;
  std::string bytes = Bytes("FFFFFFFF");
  absl::Span<uint8_t> message;
  ASSERT_EQ(codec.Decode({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}, message),
            DecodeResult::Error());
  EXPECT_EQ(Encoded(codec, "hello"), Bytes(kHello));
}

// Options.

TEST(ZlibFrameOptionsTest, AreAcceptedUpToTheirEdges) {
  EXPECT_EQ(Limited(1).max_message_bytes(), 1u);
  EXPECT_EQ(Limited(1 << 30).max_message_bytes(), size_t{1} << 30);
  EXPECT_GT(Limited(1 << 30).max_frame_bytes(), size_t{1} << 30);
  EXPECT_EQ(Make({.max_compressed_bytes = 8}).max_frame_bytes(), 12u);
  EXPECT_EQ(Make({.max_compressed_bytes = 0x7fffffff}).max_frame_bytes(), 0x80000003u);
}

TEST(ZlibFrameOptionsTest, OutsideOfThemAreRefused) {
  const auto error = [](const ZlibFrameOptions& options) {
    return ZlibFrameCodec::Create(options).status();
  };
  EXPECT_EQ(error({.max_message_bytes = 0}),
            absl::InvalidArgumentError("max_message_bytes is 0; accepted: 1 to 1073741824"));
  EXPECT_EQ(error({.max_message_bytes = (1 << 30) + 1}).message(),
            "max_message_bytes is 1073741825; accepted: 1 to 1073741824");
  EXPECT_EQ(error({.max_compressed_bytes = 7}).message(),
            "max_compressed_bytes is 7; accepted: 8 to 2147483647, or 0 for what "
            "max_message_bytes need");
  EXPECT_EQ(error({.max_compressed_bytes = -1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error({.max_compressed_bytes = int64_t{1} << 31}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error({.level = 0}).message(), "level is 0; accepted: 1 to 9");
  EXPECT_EQ(error({.level = 10}).message(), "level is 10; accepted: 1 to 9");
  EXPECT_EQ(error({.byte_order = static_cast<std::endian>(7)}).message(),
            "byte_order is neither little nor big");
}

}  // namespace
}  // namespace sluice::usp
