#include "sluice/protocols/framing/frame_stream.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/any_codec.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/codec/stream_example_testing.h"
#include "sluice/protocols/framing/frame_codec.h"

namespace {

using sluice::framing::FrameCodec;
using sluice::framing::FrameStream;

// The example of frame_stream.h, as it stands there.
class Echo : public sluice::framing::FrameHandler {
  void OnMessage(FrameStream& stream, absl::Span<uint8_t> message) override {
    if (stream.SendInPlace(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(FrameStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::framing {
namespace {

using ::testing::ElementsAre;

static_assert(sizeof(FrameStream) == 80);

std::string Frame(absl::string_view message) {
  Buffer out;
  EXPECT_EQ(FrameCodec().Encode(message, out), EncodeResult::kEncoded);
  return out.ToString();
}

using Recorder = codec_testing::Recorder<FrameCodec>;

TEST(FrameStreamTest, HeaderExample) {
  Echo echo;
  codec_testing::ExpectEchoes(FrameCodec(), echo,
                              {"", std::string(5, 'm'), std::string(1000, 'm'),
                               std::string(300'000, 'm'), std::string(7, 'm')});
}

// The errors of frame_codec_test.cc, as the user of a stream sees them.
TEST(FrameStreamTest, AFrameOverTheLimitEndsTheStream) {
  const Recorder server = codec_testing::Receive(FrameCodec(), Frame("fine") + "\x7f\xff\xff\xff");
  EXPECT_THAT(server.messages, ElementsAre("fine"));
  EXPECT_EQ(server.closed,
            absl::ResourceExhaustedError("127.0.0.1:1: receive: a frame's message of 2147483647 "
                                         "bytes is over the limit of 1048576 (max_message_bytes)"));
}

TEST(FrameStreamTest, SendsTextSpansSlicesAndBuffers) {
  codec_testing::Pair<FrameCodec> pair{FrameCodec()};
  FrameStream& from = pair.from();
  const std::string text = "string";
  const std::vector<uint8_t> bytes = {'b', 'y', 't', 'e', 's'};
  Buffer buffer;
  buffer.Append("buffer");
  from.Send("literal");
  from.Send(text);
  from.Send(bytes);
  from.Send(Slice::Copy("slice"));
  from.Send(std::move(buffer));
  EXPECT_THAT(pair.arrived(), ElementsAre("literal", "string", "bytes", "slice", "buffer"));
  EXPECT_EQ(from.Send(std::string(1024 * 1024 + 1, 'x')), SendResult::kRefused);
  EXPECT_FALSE(from.closing());
}

// Every format, over streams that cut the bytes.
TEST(FrameStreamTest, EveryFormatGoesThroughAStream) {
  for (const int length_bytes : {1, 2, 3, 4, 8, FrameOptions::kVarint}) {
    for (const size_t chunk : {1, 2, 7, 65'536}) {
      FrameOptions options;
      options.length_bytes = length_bytes;
      options.byte_order = ByteOrder::kLittleEndian;
      options.length_adjustment = -length_bytes;
      const FrameCodec codec = *FrameCodec::Create(options);
      Echo echo;
      VirtualLoop loop;
      StreamPair pair(loop.loop());
      pair.to_server().set_max_chunk(chunk);
      pair.to_client().set_max_chunk(chunk);
      FrameStream::Run(pair.TakeServer(), codec, echo);
      Recorder client;
      FrameStream stream(pair.TakeClient(), codec, client);
      std::vector<std::string> messages;
      for (const size_t size : {0, 1, 2, 100, 200, 246}) {
        messages.push_back(std::string(size, 'm'));
        EXPECT_EQ(stream.Send(messages.back()), SendResult::kSent);
      }
      loop.RunUntilIdle();
      EXPECT_EQ(client.messages, messages);
    }
  }
}

// AnyCodec, by which a program chooses the format when it runs.
TEST(FrameStreamTest, RunsWithACodecThatIsChosenAtRunTime) {
  class AnyEcho : public CodecHandler<AnyCodec> {
    void OnMessage(CodecStream<AnyCodec>& stream, absl::Span<uint8_t> message) override {
      stream.Send(message);
    }
  };
  AnyEcho echo;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  CodecStream<AnyCodec>::Run(pair.TakeServer(), AnyCodec(FrameCodec()), echo);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(Frame("one") + Frame("two"));
  loop.RunUntilIdle();
  EXPECT_EQ(client.received(), Frame("one") + Frame("two"));
}

}  // namespace
}  // namespace sluice::framing
