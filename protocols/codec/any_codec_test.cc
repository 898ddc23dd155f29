#include "sluice/protocols/codec/any_codec.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/codec/codec_testing.h"
#include "sluice/protocols/codec/short_text_codec.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;

// Messages of so many bytes each. After the first '!' it is in error.
class BlocksCodec {
 public:
  using Message = absl::Span<uint8_t>;
  explicit BlocksCodec(size_t size) : size_(size) {}

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (failed_) return DecodeResult::Error();
    if (in.size() < size_) return DecodeResult::NeedMore(size_);
    failed_ = in[0] == '!';
    if (failed_) return DecodeResult::Error();
    message = in.first(size_);
    return DecodeResult::Message(size_);
  }
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) const {
    if (message.size() != size_) return EncodeResult::kInvalid;
    out.Append(message);
    return EncodeResult::kEncoded;
  }
  absl::Status status() const {
    return failed_ ? absl::InvalidArgumentError("!") : absl::OkStatus();
  }
  size_t max_frame_bytes() const { return size_; }

 private:
  size_t size_;
  bool failed_ = false;
};

class Echo : public CodecHandler<AnyCodec> {
  void OnMessage(CodecStream<AnyCodec>& stream, absl::Span<uint8_t> message) override {
    stream.Send(message);
  }
};

std::string EchoOf(const std::string& bytes, const std::string& name) {
  Echo handler;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  std::unique_ptr<Stream> stream = pair.TakeServer();
  const std::map<std::string, sluice::AnyCodec> protocols = {
      {"text", sluice::AnyCodec(ShortTextCodec())},
      {"blocks", sluice::AnyCodec(BlocksCodec(512))},
  };
  sluice::CodecStream<sluice::AnyCodec>::Run(std::move(stream), protocols.at(name), handler);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(bytes);
  loop.RunUntilIdle();
  return client.received();
}

TEST(AnyCodecTest, HeaderExample) {
  EXPECT_EQ(EchoOf("\x02hi\x05unfinished", "text"), "\x02hi\x05unfin");
  EXPECT_EQ(EchoOf(std::string(1000, 'b'), "blocks"), std::string(512, 'b'));
}

TEST(AnyCodecTest, DoesWhatTheCodecInItDoes) {
  const AnyCodec three{BlocksCodec(3)};
  EXPECT_EQ(three.max_frame_bytes(), 3u);
  EXPECT_THAT(codec_testing::DecodeEveryWay(three, "abcdefgh").messages, ElementsAre("abc", "def"));
  codec_testing::ExpectRoundTrip(three, {"abc", "def"});
  EXPECT_EQ(codec_testing::DecodeEveryWay(three, "abc!xx").status, absl::InvalidArgumentError("!"));
}

TEST(AnyCodecTest, ACopyIsACodecOfItsOwn) {
  AnyCodec codec{BlocksCodec(1)};
  const AnyCodec copy = codec;
  uint8_t wrong = '!';
  absl::Span<uint8_t> message;
  EXPECT_EQ(codec.Decode(absl::MakeSpan(&wrong, 1), message), DecodeResult::Error());
  EXPECT_FALSE(codec.status().ok());
  EXPECT_TRUE(copy.status().ok());
}

TEST(AnyCodecTest, CanBeReplacedByOneOfAnotherKind) {
  AnyCodec codec{BlocksCodec(1)};
  codec = AnyCodec(BlocksCodec(5));
  EXPECT_EQ(codec.max_frame_bytes(), 5u);
  AnyCodec moved = std::move(codec);
  EXPECT_EQ(moved.max_frame_bytes(), 5u);
}

}  // namespace
}  // namespace sluice
