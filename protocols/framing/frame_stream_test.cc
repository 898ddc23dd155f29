#include "sluice/protocols/framing/frame_stream.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/poller.h"
#include "sluice/core/slice.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/codec/any_codec.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
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

// Writes down what arrives.
class Recorder : public FrameHandler {
 public:
  std::vector<std::string> messages;
  absl::Status closed = absl::UnknownError("not closed");

 private:
  void OnMessage(FrameStream&, absl::Span<uint8_t> message) override {
    messages.push_back(std::string(reinterpret_cast<const char*>(message.data()), message.size()));
  }
  void OnClose(FrameStream&, const absl::Status& status) override { closed = status; }
};

TEST(FrameStreamTest, HeaderExample) {
  Recorder recorder;
  Echo echo;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const SocketAddress address = SocketAddress::Ipv4Loopback(0);
  auto listener =
      sluice::Listener::Listen(*loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
        FrameStream::Run(std::move(stream), FrameCodec(), echo);
      });
  ASSERT_TRUE(listener.ok()) << listener.status();

  FrameStream* client = nullptr;
  Connector connector(*loop);
  connector.Connect((*listener)->address(), {},
                    [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                      ASSERT_TRUE(stream.ok()) << stream.status();
                      client = &FrameStream::Run(*std::move(stream), FrameCodec(), recorder);
                      for (const size_t size : {0, 5, 1000, 300'000, 7})
                        client->Send(std::string(size, 'm'));
                    });
  loop->RunUntil([&] { return recorder.messages.size() == 5; });
  EXPECT_THAT(recorder.messages, ElementsAre("", std::string(5, 'm'), std::string(1000, 'm'),
                                             std::string(300'000, 'm'), std::string(7, 'm')));
  client->Close();
  loop->RunUntil([&] { return loop->counters().streams == 0; });
  EXPECT_EQ(recorder.closed, absl::OkStatus());
}

// The errors of frame_codec_test.cc, as the user of a stream sees them.
TEST(FrameStreamTest, AFrameOverTheLimitEndsTheStream) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  FrameStream stream(pair.TakeServer(), FrameCodec(), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(Frame("fine") + "\x7f\xff\xff\xff");
  loop.RunUntilIdle();
  EXPECT_THAT(server.messages, ElementsAre("fine"));
  EXPECT_EQ(server.closed,
            absl::ResourceExhaustedError("127.0.0.1:1: receive: a frame's message of 2147483647 "
                                         "bytes is over the limit of 1048576 (max_message_bytes)"));
}

TEST(FrameStreamTest, SendsTextSpansSlicesAndBuffers) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  Recorder client;
  FrameStream from(pair.TakeClient(), FrameCodec(), client);
  FrameStream to(pair.TakeServer(), FrameCodec(), server);
  const std::string text = "string";
  const std::vector<uint8_t> bytes = {'b', 'y', 't', 'e', 's'};
  Buffer buffer;
  buffer.Append("buffer");
  from.Send("literal");
  from.Send(text);
  from.Send(bytes);
  from.Send(Slice::Copy("slice"));
  from.Send(std::move(buffer));
  loop.RunUntilIdle();
  EXPECT_THAT(server.messages, ElementsAre("literal", "string", "bytes", "slice", "buffer"));
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
