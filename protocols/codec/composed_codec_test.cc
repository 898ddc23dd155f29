#include "sluice/protocols/codec/composed_codec.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/any_codec.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/codec/codec_testing.h"
#include "sluice/protocols/codec/short_text_codec.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The example of composed_codec.h; a test may not name another protocol, so ShortTextCodec frames
// it.
struct Number {
  uint64_t value = 0;
};
std::string DescribeMessage(const Number& number) { return absl::StrCat(number.value); }

class NumberCodec {
 public:
  using Message = Number;
  bool DecodePayload(absl::Span<uint8_t> payload, Number& number) {
    failed_ = failed_ || payload.size() != sizeof(number.value);
    if (!failed_) std::memcpy(&number.value, payload.data(), sizeof(number.value));
    return !failed_;
  }
  EncodeResult Encode(Number number, Buffer& out) const {
    const auto* const bytes = reinterpret_cast<const uint8_t*>(&number.value);
    out.Append(absl::MakeConstSpan(bytes, sizeof(number.value)));
    return EncodeResult::kEncoded;
  }
  absl::Status status() const {
    return failed_ ? absl::InvalidArgumentError("a number has 8 bytes") : absl::OkStatus();
  }

 private:
  bool failed_ = false;
};
static_assert(PayloadCodec<NumberCodec>);

using FramedNumbers = ComposedCodec<ShortTextCodec, NumberCodec>;
static_assert(Codec<FramedNumbers>);
static_assert(EncoderOf<FramedNumbers, Number>);
static_assert(!EncoderOf<FramedNumbers, std::string>);

// A cipher, if not a good one: the key goes on from message to message.
class CipherCodec {
 public:
  using Message = absl::Span<uint8_t>;
  bool DecodePayload(absl::Span<uint8_t> payload, Message& message) {
    for (uint8_t& byte : payload) byte ^= decode_key_++;
    message = payload;
    return true;
  }
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) {
    std::string bytes;
    for (const uint8_t byte : message) bytes.push_back(static_cast<char>(byte ^ encode_key_++));
    out.Append(bytes);
    return EncodeResult::kEncoded;
  }
  absl::Status status() const { return absl::OkStatus(); }

 private:
  uint8_t decode_key_ = 7;
  uint8_t encode_key_ = 7;
};

using EncryptedText = ComposedCodec<ShortTextCodec, CipherCodec>;
static_assert(ByteCodec<EncryptedText>);

class Sum : public CodecHandler<FramedNumbers> {
 public:
  void OnMessage(CodecStream<FramedNumbers>& stream, Number number) override {
    sum_.value += number.value;
    stream.Send(sum_);
  }

 private:
  Number sum_;
};

TEST(ComposedCodecTest, HeaderExample) {
  Sum handler;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  std::unique_ptr<Stream> stream = pair.TakeServer();
  CodecStream<FramedNumbers>::Run(std::move(stream), FramedNumbers(), handler);
  FramedNumbers codec;
  Buffer numbers;
  for (const uint64_t number : {7, 8}) codec.Encode(Number{number}, numbers);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(numbers.ToString());
  loop.RunUntilIdle();
  EXPECT_THAT(codec_testing::Decode(FramedNumbers(), client.received()).messages,
              ElementsAre("7", "15"));
}

std::string SmallText(std::minstd_rand& random) {
  return std::string(random() % 250, static_cast<char>(random()));
}

TEST(ComposedCodecTest, KeepsTheCodecsPromises) {
  codec_testing::ExpectKeepsPromises(EncryptedText(), SmallText);
  codec_testing::ExpectKeepsPromises(FramedNumbers(),
                                     [](std::minstd_rand& random) { return Number{random()}; });
  codec_testing::ExpectKeepsPromises(AnyCodec(EncryptedText()), SmallText);
}

TEST(ComposedCodecTest, ConversesOverABadNetwork) {
  codec_testing::ExpectConverses(EncryptedText(), SmallText);
}

TEST(ComposedCodecTest, GoesIntoAnotherOne) {
  using Twice = ComposedCodec<EncryptedText, NumberCodec>;
  codec_testing::ExpectKeepsPromises(Twice(),
                                     [](std::minstd_rand& random) { return Number{random()}; });
}

TEST(ComposedCodecTest, AWholeCodecGoesIntoAnotherOne) {
  using TextInText = ComposedCodec<ShortTextCodec, ShortTextCodec>;
  codec_testing::ExpectKeepsPromises(TextInText(), SmallText);
  EXPECT_EQ(codec_testing::DecodeEveryWay(TextInText(), "\x03\x02hi\x04\x02hix").status,
            absl::InvalidArgumentError(
                "a frame of 4 bytes has 1 left behind the message that it carries"));
  EXPECT_EQ(
      codec_testing::DecodeEveryWay(TextInText(), "\x02\x02h").status,
      absl::InvalidArgumentError("a frame of 2 bytes ends inside the message that it carries"));
  EXPECT_THAT(codec_testing::DecodeEveryWay(TextInText(), std::string(1, 0)).status.message(),
              HasSubstr("a frame of 0 bytes ends inside"));
}

TEST(ComposedCodecTest, TheInnerCodecsErrorIsTheComposedOnes) {
  const codec_testing::Decoded decoded = codec_testing::DecodeEveryWay(FramedNumbers(),
                                                                       "\x08"
                                                                       "12345678\x03"
                                                                       "123\x08"
                                                                       "12345678");
  EXPECT_EQ(decoded.messages.size(), 1u);
  EXPECT_EQ(decoded.status, absl::InvalidArgumentError("a number has 8 bytes"));
}

TEST(ComposedCodecTest, WhatTheOuterCodecRefusesIsRefused) {
  ComposedCodec<ShortTextCodec, ShortTextCodec> codec;
  Buffer out;
  const std::vector<uint8_t> text(255);
  EXPECT_EQ(codec.Encode(absl::MakeConstSpan(text), out), EncodeResult::kTooLong);
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(codec.Encode(absl::MakeConstSpan(text).first(2), out), EncodeResult::kEncoded);
}

// The cipher's key has gone on, but not the peer's.
TEST(ComposedCodecTest, WhatIsRefusedBehindAnEncodeWithAStateIsTheLast) {
  EncryptedText codec;
  Buffer out;
  const std::vector<uint8_t> text(256);
  EXPECT_EQ(codec.Encode(absl::MakeConstSpan(text), out), EncodeResult::kTooLong);
  EXPECT_EQ(codec.Encode(absl::MakeConstSpan(text).first(2), out), EncodeResult::kInvalid);
  EXPECT_TRUE(out.empty());
}

// What is decompressed, say: a message is memory of the codec's own.
class GrowingCodec {
 public:
  using Message = absl::Span<uint8_t>;
  bool DecodePayload(absl::Span<uint8_t> payload, Message& message) {
    grown_.assign(payload.size() * 1000, payload.empty() ? 0 : payload[0]);
    message = absl::MakeSpan(grown_);
    return true;
  }
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) const {
    out.Append(message);
    return EncodeResult::kEncoded;
  }
  void ReleaseMemory() { std::vector<uint8_t>().swap(grown_); }
  absl::Status status() const { return absl::OkStatus(); }
  size_t memory_bytes() const { return grown_.capacity(); }

 private:
  std::vector<uint8_t> grown_;
};

TEST(ComposedCodecTest, MemoryOfEitherCodecIsReleasedBehindAMessage) {
  using Growing = ComposedCodec<ShortTextCodec, GrowingCodec>;
  class Handler : public CodecHandler<Growing> {
   public:
    size_t bytes = 0;

   private:
    void OnMessage(CodecStream<Growing>&, absl::Span<uint8_t> message) override {
      bytes += message.size();
    }
  } handler;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  CodecStream<Growing> stream(pair.TakeServer(), Growing(), handler);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("\x02hi");
  loop.RunUntilIdle();
  EXPECT_EQ(handler.bytes, 2000u);
  EXPECT_EQ(stream.codec().inner().memory_bytes(), 0u);
}

// Frames with Buffers: what the inner codec has made is not copied.
class SharingCodec : public ShortTextCodec {
 public:
  EncodeResult Encode(Buffer payload, Buffer& out) const {
    const uint8_t size = static_cast<uint8_t>(payload.size());
    out.Append(absl::MakeConstSpan(&size, 1));
    out.Append(std::move(payload));
    return EncodeResult::kEncoded;
  }
  using ShortTextCodec::Encode;
};
class SliceCodec {
 public:
  using Message = absl::Span<uint8_t>;
  bool DecodePayload(absl::Span<uint8_t> payload, Message& message) {
    message = payload;
    return true;
  }
  EncodeResult Encode(Slice slice, Buffer& out) const {
    out.Append(std::move(slice));
    return EncodeResult::kEncoded;
  }
  absl::Status status() const { return absl::OkStatus(); }
};

TEST(ComposedCodecTest, CopiesNothing) {
  ComposedCodec<SharingCodec, SliceCodec> codec;
  const Slice slice = Slice::Copy(std::string(200, 's'));
  Buffer out;
  ASSERT_EQ(codec.Encode(slice, out), EncodeResult::kEncoded);
  out.Drain(1);
  EXPECT_EQ(out.front().data(), slice.data());

  std::string bytes = "\x02hi";
  absl::Span<uint8_t> message;
  codec.Decode(absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()), message);
  EXPECT_EQ(static_cast<void*>(message.data()), bytes.data() + 1);
}

}  // namespace
}  // namespace sluice
