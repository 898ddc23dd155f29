#include "sluice/protocols/usp/message_codec.h"

#include <cstddef>
#include <cstdint>
#include <optional>
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
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_testing.h"
#include "sluice/protocols/usp/cipher.h"
#include "sluice/protocols/usp/compression.h"
#include "sluice/protocols/usp/compressor.h"
#include "sluice/protocols/usp/header.h"

namespace sluice::usp {
namespace {

using ::sluice::codec_testing::Decoded;
using ::sluice::codec_testing::DecodeEveryWay;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

static_assert(Codec<MessageCodec>);
static_assert(EncoderOf<MessageCodec, Message>);

MessageCodec Make(const MessageOptions& options) {
  absl::StatusOr<MessageCodec> codec = MessageCodec::Create(options);
  EXPECT_TRUE(codec.ok()) << codec.status();
  return *codec;
}

MessageCodec Compressing(CompressionAlgorithm algorithm, size_t from = 1,
                         size_t max_message_bytes = 100'000) {
  return Make({.max_message_bytes = max_message_bytes,
               .compressor = &ZlibCompressor(),
               .compression = algorithm,
               .min_compress_bytes = from});
}

std::string Encoded(const MessageCodec& codec, const Message& message) {
  Buffer out;
  EXPECT_EQ(codec.Encode(message, out), EncodeResult::kEncoded);
  return out.ToString();
}

EncodeResult Refusal(const MessageCodec& codec, const Message& message) {
  Buffer out;
  const EncodeResult result = codec.Encode(message, out);
  EXPECT_TRUE(out.empty());
  return result;
}

// A frame, field by field.
struct Frame {
  int version = 0, type = 0, compression = 0, crypto = 0, header_size = 0;
  std::string payload = {};

  std::string bytes() const {
    const size_t size = 6 + payload.size();
    std::string out;
    for (int i = 0; i < 4; ++i) out += static_cast<char>(size >> 8 * i);
    for (const int field :
         {version, type, compression, crypto, header_size & 0xFF, header_size >> 8}) {
      out += static_cast<char>(field);
    }
    return out + payload;
  }
};

// The one error of these bytes, however they are cut.
std::string ErrorOf(const MessageCodec& codec, absl::string_view bytes) {
  const Decoded decoded = DecodeEveryWay(codec, bytes);
  EXPECT_THAT(decoded.messages, IsEmpty());
  return decoded.status.ToString();
}

// XORs, and adds a byte. The handshake's body is the key.
class ToyCipher : public Cipher {
 public:
  absl::StatusOr<std::optional<std::string>> Begin() override { return std::string("k"); }
  absl::StatusOr<std::optional<std::string>> OnHandshake(absl::Span<const uint8_t>) override {
    ready_ = true;
    return std::nullopt;
  }
  bool ready() const override { return ready_; }
  void Encrypt(std::string& bytes) override {
    for (char& c : bytes) c = static_cast<char>(c ^ 0x55);
    bytes += '!';
  }
  absl::StatusOr<absl::Span<uint8_t>> Decrypt(absl::Span<uint8_t> bytes) override {
    if (bytes.back() != '!') return absl::InvalidArgumentError("no toy made this");
    bytes.remove_suffix(1);
    for (uint8_t& byte : bytes) byte ^= 0x55;
    return bytes;
  }

 private:
  bool ready_ = false;
};

TEST(MessageCodecTest, HeaderExample) {
  std::vector<uint8_t> in;
  {
    usp::MessageCodec codec;
    Buffer out;
    const usp::HeaderField header[] = {{"id", "7"}};
    EXPECT_EQ(codec.Encode({.header = header, .body = usp::AsBytes("hello")}, out),
              EncodeResult::kEncoded);
    const std::string bytes = out.ToString();
    in.assign(bytes.begin(), bytes.end());
  }
  usp::MessageCodec codec;
  usp::Message message;
  EXPECT_EQ(codec.Decode(absl::MakeSpan(in), message), DecodeResult::Message(in.size()));
  EXPECT_EQ(message.text(), "hello");
  EXPECT_EQ(message.Find("id"), "7");
}

// The bytes that the original, lxzan/socket, has sent.

TEST(MessageCodecTest, ReadsWhatTheOriginalSends) {
  const std::string bytes = absl::HexStringToBytes(
      // Text "hello", gzip.
      "1b0000000000010000001f8b08000000000000ffca48cdc9c907000000ffff"
      // Binary, with a header, gzip.
      "28000000000101000a001f8b08000000000000ffaa56ca4c51b2523257aacd48cdc9c957c04502000000ffff"
      // Text, with a header, flate.
      "1e000000000002000a00aa56ca4c51b2523257aacd48cdc9c957c04502000000ffff"
      // Text "hello", flate.
      "11000000000002000000ca48cdc9c907000000ffff"
      // Text with a header of many escapes.
      "37000000000000002f007b22615c753030336362223a22785c225c5c5c75323032385c6e5c7530303031c3a9f09f"
      "9880222c2262223a22227d6869"
      // A ping, and a text of nothing.
      "06000000000200000000"
      "06000000000000000000");
  const MessageCodec codec = Make({.compressor = &ZlibCompressor()});
  const Decoded decoded = DecodeEveryWay(codec, bytes);
  EXPECT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_THAT(
      decoded.messages,
      ElementsAre("text hello", R"(binary {"id":"7"} hello hello hello hello hello )",
                  R"(text {"id":"7"} hello hello hello hello hello )", "text hello",
                  "text {\"a<b\":\"x\\\"\\\\\xE2\x80\xA8\\n\\u0001\xC3\xA9\xF0\x9F\x98\x80\","
                  "\"b\":\"\"} hi",
                  "ping ", "text "));
}

TEST(MessageCodecTest, WritesWhatTheOriginalSends) {
  MessageCodec codec;
  EXPECT_EQ(absl::BytesToHexString(Encoded(codec, {.type = MessageType::kPing})),
            "06000000000200000000");
  const HeaderField header[] = {{"id", "7"}};
  EXPECT_EQ(Encoded(codec, {.type = MessageType::kBinary, .header = header, .body = AsBytes("hi")}),
            Frame({.type = 1, .header_size = 10, .payload = R"({"id":"7"}hi)"}).bytes());
}

// A message that owns what it refers to.
struct OwnMessage {
  MessageType type;
  std::vector<std::pair<std::string, std::string>> header;
  std::string body;
  mutable std::vector<HeaderField> fields = {};

  operator Message() const {
    fields.clear();
    for (const auto& [name, value] : header) fields.push_back({name, value});
    return {.type = type, .header = fields, .body = AsBytes(body)};
  }
};
std::string DescribeMessage(const OwnMessage& message) { return DescribeMessage(Message(message)); }

// Of all types, with and without a header, some of which become smaller when compressed.
OwnMessage AnyMessage(std::minstd_rand& random) {
  OwnMessage message;
  message.type = static_cast<MessageType>(random() % 4);
  for (size_t i = random() % 4; i > 0; --i) {
    message.header.emplace_back(absl::StrCat(i, "\"\\\n"), std::string(random() % 40, '<'));
  }
  message.body = std::string(random() % 300, static_cast<char>('a' + random() % 26));
  if (random() % 2 == 0) {
    for (char& c : message.body) c = static_cast<char>(random() >> 8);
  }
  return message;
}

TEST(MessageCodecTest, KeepsItsPromises) {
  for (const MessageCodec& codec :
       {Make({.max_message_bytes = 2000}), Compressing(CompressionAlgorithm::kGzip, 1, 2000),
        Compressing(CompressionAlgorithm::kFlate, 300, 2000)}) {
    codec_testing::ExpectKeepsPromises(codec, AnyMessage);
  }
}

TEST(MessageCodecTest, ConversesOverABadNetwork) {
  codec_testing::ExpectConverses(Compressing(CompressionAlgorithm::kGzip, 100, 2000), AnyMessage,
                                 Compressing(CompressionAlgorithm::kFlate, 100, 2000), AnyMessage);
}

TEST(MessageCodecTest, CompressesFromASizeOn) {
  const MessageCodec codec = Compressing(CompressionAlgorithm::kGzip, 1000);
  EXPECT_EQ(Encoded(codec, {.body = AsBytes(std::string(999, 'x'))}).size(), 10u + 999);
  const std::string compressed = Encoded(codec, {.body = AsBytes(std::string(1000, 'x'))});
  EXPECT_LT(compressed.size(), 100u);
  EXPECT_EQ(compressed[6], 1);
  // The header counts.
  const HeaderField header[] = {{"a", std::string_view("0123456789")}};
  EXPECT_EQ(Encoded(codec, {.header = header, .body = AsBytes(std::string(990, 'x'))})[6], 1);
}

TEST(MessageCodecTest, SendsAsItIsWhatDoesNotBecomeSmaller) {
  const std::string encoded =
      Encoded(Compressing(CompressionAlgorithm::kFlate), {.body = AsBytes("short")});
  EXPECT_EQ(encoded, Frame({.payload = "short"}).bytes());
}

// The original would refuse it, since it compares the header's size with that of the payload.
TEST(MessageCodecTest, AHeaderLargerThanItsPayloadIsNotCompressed) {
  const std::string value(500, 'v');
  const HeaderField header[] = {{"name", value}};
  for (const CompressionAlgorithm algorithm :
       {CompressionAlgorithm::kGzip, CompressionAlgorithm::kFlate}) {
    const std::string encoded = Encoded(Compressing(algorithm), {.header = header});
    EXPECT_EQ(encoded[6], 0);
    EXPECT_THAT(encoded, HasSubstr(value));
  }
}

TEST(MessageCodecTest, ControlMessagesAreNeverCompressed) {
  const std::string body(1000, 'x');
  const MessageCodec codec = Compressing(CompressionAlgorithm::kGzip);
  for (const MessageType type : {MessageType::kPing, MessageType::kPong}) {
    EXPECT_EQ(Encoded(codec, {.type = type, .body = AsBytes(body)}),
              Frame({.type = static_cast<int>(type), .payload = body}).bytes());
  }
}

TEST(MessageCodecTest, SaysHowAMessageCame) {
  std::string bytes =
      Encoded(Compressing(CompressionAlgorithm::kFlate), {.body = AsBytes(std::string(99, 'x'))});
  MessageCodec codec = Make({.compressor = &ZlibCompressor()});
  Message message;
  std::vector<uint8_t> in(bytes.begin(), bytes.end());
  ASSERT_EQ(codec.Decode(absl::MakeSpan(in), message), DecodeResult::Message(in.size()));
  EXPECT_EQ(message.compression, CompressionAlgorithm::kFlate);
}

TEST(MessageCodecTest, NamesWhatIsWrongWithAFrame) {
  const MessageCodec codec = Make({.compressor = &ZlibCompressor()});
  EXPECT_THAT(ErrorOf(codec, std::string("\x05\0\0\0\0\0\0\0\0\0", 10)),
              HasSubstr("a message of size 5; it has at least 6"));
  EXPECT_THAT(ErrorOf(codec, Frame({.version = 1}).bytes()), HasSubstr("version 1; accepted: 0"));
  EXPECT_THAT(ErrorOf(codec, Frame({.type = 5}).bytes()), HasSubstr("type 5; accepted: 0 (text)"));
  EXPECT_THAT(ErrorOf(codec, Frame({.compression = 3}).bytes()),
              HasSubstr("compression 3; accepted: 0 (none), 1 (gzip), 2 (flate)"));
  EXPECT_THAT(ErrorOf(codec, Frame({.crypto = 2}).bytes()), HasSubstr("crypto 2; accepted: 0"));
  EXPECT_THAT(ErrorOf(codec, Frame({.type = 2, .compression = 1}).bytes()),
              HasSubstr("a ping message that is compressed or encrypted"));
  EXPECT_THAT(ErrorOf(codec, Frame({.type = 3, .crypto = 1}).bytes()),
              HasSubstr("a pong message that is compressed or encrypted"));
  EXPECT_THAT(ErrorOf(codec, Frame({.header_size = 3, .payload = "ab"}).bytes()),
              HasSubstr("whose header has 3 bytes, of 2 with its body"));
  EXPECT_THAT(ErrorOf(codec, Frame({.header_size = 2, .payload = "ab"}).bytes()),
              HasSubstr("a message's header is no JSON object"));
  EXPECT_THAT(ErrorOf(codec, Frame({.compression = 1, .payload = "no gzip"}).bytes()),
              HasSubstr("a message compressed by gzip is damaged"));
  EXPECT_THAT(ErrorOf(codec, Frame({.compression = 2, .payload = "\xff\xff"}).bytes()),
              HasSubstr("a message compressed by flate is damaged"));
}

TEST(MessageCodecTest, AHeaderLargerThanWhatWasCompressedIsAnError) {
  std::string payload = {};
  ASSERT_TRUE(ZlibCompressor().Compress(CompressionAlgorithm::kFlate, {},
                                        AsBytes(std::string(50, '{')), payload));
  EXPECT_THAT(ErrorOf(Make({.compressor = &ZlibCompressor()}),
                      Frame({.compression = 2, .header_size = 51, .payload = payload}).bytes()),
              HasSubstr("whose header has 51 bytes, of 50 with its body"));
}

TEST(MessageCodecTest, WithoutACompressorACompressedMessageIsAnError) {
  EXPECT_THAT(ErrorOf(MessageCodec(), Frame({.compression = 1, .payload = "x"}).bytes()),
              HasSubstr("FAILED_PRECONDITION: a message compressed by gzip, and there is no "
                        "compressor"));
}

TEST(MessageCodecTest, WithoutACipherEncryptionIsAnError) {
  EXPECT_THAT(ErrorOf(MessageCodec(), Frame({.crypto = 1, .payload = "x"}).bytes()),
              HasSubstr("FAILED_PRECONDITION: a message encrypted by RSA-then-AES, and encryption "
                        "is off"));
  EXPECT_THAT(ErrorOf(MessageCodec(), Frame({.type = 4}).bytes()),
              HasSubstr("FAILED_PRECONDITION: a handshake message, and encryption is off"));
  EXPECT_EQ(Refusal(MessageCodec(), {.type = MessageType::kHandshake}), EncodeResult::kInvalid);
}

TEST(MessageCodecTest, LimitsMessages) {
  const MessageCodec codec = Make({.max_message_bytes = 20});
  const HeaderField header[] = {{"id", "7"}};
  const std::string body(10, 'x');
  EXPECT_EQ(DecodeEveryWay(codec, Encoded(codec, {.header = header, .body = AsBytes(body)}))
                .messages.size(),
            1u);
  EXPECT_EQ(Refusal(codec, {.header = header, .body = AsBytes(body + "x")}),
            EncodeResult::kTooLong);
  EXPECT_EQ(Refusal(codec, {.body = AsBytes(body + body + "x")}), EncodeResult::kTooLong);
  EXPECT_THAT(ErrorOf(codec, Frame({.payload = std::string(21, 'x')}).bytes()),
              HasSubstr("RESOURCE_EXHAUSTED: a message of 21 bytes is over the limit of 20 "
                        "(max_message_bytes)"));
  // As soon as the size is there.
  EXPECT_THAT(ErrorOf(codec, std::string("\xff\xff\xff\xff\0\0\1\0\0\0", 10)),
              HasSubstr("a message of 4294967289 bytes is over the limit of 20"));
}

TEST(MessageCodecTest, LimitsWhatIsDecompressed) {
  const std::string bomb = Encoded(Compressing(CompressionAlgorithm::kGzip, 1, 30'000'000),
                                   {.body = AsBytes(std::string(30'000'000, '0'))});
  const MessageCodec codec = Compressing(CompressionAlgorithm::kGzip);
  codec_testing::Feeder<MessageCodec> feeder(codec);
  feeder.Feed(bomb);
  EXPECT_THAT(feeder.decoded().status.ToString(),
              HasSubstr("RESOURCE_EXHAUSTED: a compressed message is over the limit of 100000 "
                        "(max_message_bytes) when decompressed"));
}

// A peer that compresses what does not become smaller.
TEST(MessageCodecTest, ACompressedMessageOfTheLimitMayBeALittleLonger) {
  std::string stored("\0\x10\x00\xef\xff", 5);  // a stored block of 16 bytes
  stored += "0123456789abcdef";
  const std::string bytes =
      Frame({.compression = 2, .payload = stored + std::string("\0\0\0\xff\xff", 5)}).bytes();
  const MessageCodec codec = Make({.max_message_bytes = 16, .compressor = &ZlibCompressor()});
  EXPECT_THAT(DecodeEveryWay(codec, bytes).messages, ElementsAre("text 0123456789abcdef"));
}

TEST(MessageCodecTest, LimitsHeaders) {
  const std::string value(65'535 - 8, 'v');
  const HeaderField header[] = {{"a", value}};
  const MessageCodec codec;
  EXPECT_EQ(DescribeMessage(Message{.header = header}).size(), 5u + 65'535 + 1);
  EXPECT_EQ(codec_testing::Decode(codec, Encoded(codec, {.header = header})).messages.size(), 1u);
  const HeaderField too_long[] = {{"ab", value}};
  EXPECT_EQ(Refusal(codec, {.header = too_long}), EncodeResult::kTooLong);

  const HeaderField two[] = {{"a", ""}, {"b", ""}};
  const MessageCodec one = Make({.max_header_fields = 1});
  EXPECT_EQ(Refusal(one, {.header = two}), EncodeResult::kTooLong);
  EXPECT_THAT(ErrorOf(one, Encoded(codec, {.header = two})),
              HasSubstr("a message's header has too many fields"));
}

TEST(MessageCodecTest, RefusesWhatIsNoHeader) {
  const HeaderField no_utf8[] = {{"a", "\xff"}};
  EXPECT_EQ(Refusal(MessageCodec(), {.header = no_utf8}), EncodeResult::kInvalid);
  const HeaderField twice[] = {{"a", "1"}, {"a", "2"}};
  EXPECT_EQ(Refusal(MessageCodec(), {.header = twice}), EncodeResult::kInvalid);
}

TEST(MessageCodecTest, OptionsAreChecked) {
  const auto error = [](const MessageOptions& options) {
    return std::string(MessageCodec::Create(options).status().message());
  };
  EXPECT_EQ(error({.max_message_bytes = 0}), "max_message_bytes is 0; accepted: 1 to 1073741824");
  EXPECT_THAT(error({.max_message_bytes = (1u << 30) + 1}), HasSubstr("accepted: 1 to 1073741824"));
  EXPECT_EQ(error({.compression = CompressionAlgorithm::kGzip}),
            "compression is gzip, and there is no compressor");
  EXPECT_THAT(error({.compression = static_cast<CompressionAlgorithm>(3)}),
              HasSubstr("compression is 3; accepted: none, gzip, flate"));
}

TEST(MessageCodecTest, KeepsLittleMemory) {
  const std::string bytes = Encoded(Compressing(CompressionAlgorithm::kGzip),
                                    {.body = AsBytes(std::string(100'000, 'x'))});
  std::vector<uint8_t> in(bytes.begin(), bytes.end());
  MessageCodec codec = Compressing(CompressionAlgorithm::kGzip);
  Message message;
  ASSERT_EQ(codec.Decode(absl::MakeSpan(in), message), DecodeResult::Message(in.size()));
  EXPECT_EQ(message.body.size(), 100'000u);
  EXPECT_GT(codec.kept_bytes(), 100'000u);
  codec.ReleaseMemory();
  EXPECT_LE(codec.kept_bytes(), 2 * MessageCodec::kKeptBytes);
}

// With a cipher.

class CipherTest : public testing::Test {
 protected:
  CipherTest() { codec.set_cipher(&cipher); }
  void Shake() { (void)cipher.OnHandshake({}); }

  ToyCipher cipher;
  MessageCodec codec = Compressing(CompressionAlgorithm::kGzip, 50);
};

TEST_F(CipherTest, HandshakesComeAndGo) {
  const std::string bytes =
      Encoded(codec, {.type = MessageType::kHandshake, .body = AsBytes("key")});
  EXPECT_EQ(bytes, Frame({.type = 4, .payload = "key"}).bytes());
  EXPECT_THAT(DecodeEveryWay(codec, bytes).messages, ElementsAre("handshake key"));
}

TEST_F(CipherTest, NothingElseBeforeTheHandshake) {
  EXPECT_EQ(Refusal(codec, {.body = AsBytes("x")}), EncodeResult::kInvalid);
  EXPECT_THAT(ErrorOf(codec, Frame({.payload = "x"}).bytes()),
              HasSubstr("a text or binary message before the handshake"));
  EXPECT_THAT(DecodeEveryWay(codec, Frame({.type = 2}).bytes()).messages, ElementsAre("ping "));
}

TEST_F(CipherTest, EncryptsWhatIsCompressed) {
  Shake();
  const HeaderField header[] = {{"id", "7"}};
  const std::string body(1000, 'x');
  const std::string bytes = Encoded(codec, {.header = header, .body = AsBytes("hello")}) +
                            Encoded(codec, {.header = header, .body = AsBytes(body)});
  EXPECT_EQ(bytes[7], 1);
  EXPECT_LT(bytes.size(), 200u);
  EXPECT_THAT(bytes, testing::Not(HasSubstr("hello")));
  EXPECT_THAT(DecodeEveryWay(codec, bytes).messages,
              ElementsAre(R"(text {"id":"7"} hello)", R"(text {"id":"7"} )" + body));
}

TEST_F(CipherTest, AMessageOfNothingIsNotEncrypted) {
  Shake();
  EXPECT_EQ(Encoded(codec, {}), Frame().bytes());
  // As the original sends it.
  const std::string marked = Frame({.crypto = 1}).bytes();
  EXPECT_THAT(DecodeEveryWay(codec, Frame().bytes() + marked).messages,
              ElementsAre("text ", "text "));
}

TEST_F(CipherTest, WhatIsNotEncryptedIsAnErrorAfterTheHandshake) {
  Shake();
  EXPECT_THAT(ErrorOf(codec, Frame({.payload = "x"}).bytes()),
              HasSubstr("a message that is not encrypted, after a handshake"));
  EXPECT_THAT(ErrorOf(codec, Frame({.crypto = 1, .payload = "x"}).bytes()),
              HasSubstr("no toy made this"));
}

}  // namespace
}  // namespace sluice::usp
