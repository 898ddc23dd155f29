#include "sluice/protocols/usp/zlib_frame_stream.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/usp/zlib_frame_codec.h"

namespace {

using sluice::usp::ZlibFrameCodec;
using sluice::usp::ZlibFrameStream;

// The example of zlib_frame_stream.h, as it stands there.
class Echo : public sluice::usp::ZlibFrameHandler {
  void OnMessage(ZlibFrameStream& stream, absl::Span<uint8_t> message) override {
    if (stream.Send(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(ZlibFrameStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::usp {
namespace {

using ::testing::ElementsAre;

class Recorder : public ZlibFrameHandler {
 public:
  std::vector<std::string> messages;
  absl::Status closed = absl::UnknownError("not closed");

 private:
  void OnMessage(ZlibFrameStream&, absl::Span<uint8_t> message) override {
    messages.push_back(std::string(reinterpret_cast<const char*>(message.data()), message.size()));
  }
  void OnClose(ZlibFrameStream&, const absl::Status& status) override { closed = status; }
};

TEST(ZlibFrameStreamTest, HeaderExample) {
  Echo echo;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  pair.to_server().set_max_chunk(7);
  pair.to_client().set_max_chunk(1000);
  auto on_accept = [&](std::unique_ptr<sluice::Stream> stream) {
    ZlibFrameStream::Run(std::move(stream), ZlibFrameCodec(), echo);
  };
  on_accept(pair.TakeServer());

  Recorder client;
  ZlibFrameStream stream(pair.TakeClient(), ZlibFrameCodec(), client);
  std::vector<std::string> messages;
  for (const size_t size : {0, 1, 5, 1000, 70'000, 3}) {
    messages.push_back(std::string(size, 'm'));
    EXPECT_EQ(stream.Send(messages.back()), SendResult::kSent);
  }
  loop.RunUntilIdle();
  EXPECT_EQ(client.messages, messages);
  stream.Close();
  loop.RunUntilIdle();
  EXPECT_EQ(client.closed, absl::OkStatus());
}

TEST(ZlibFrameStreamTest, AnErrorOfTheCodecEndsTheStream) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  ZlibFrameStream stream(pair.TakeServer(), ZlibFrameCodec(), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("GET / HTTP/1.1\r\n\r\n");
  loop.RunUntilIdle();
  EXPECT_THAT(server.messages, ElementsAre());
  EXPECT_EQ(server.closed,
            absl::ResourceExhaustedError(
                "127.0.0.1:1: receive: a frame of 542393671 compressed bytes is over the limit of "
                "1048909 (max_compressed_bytes)"));
}

TEST(ZlibFrameStreamTest, AMessageThatIsTooLongIsRefusedAndTheStreamLivesOn) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server, client;
  ZlibFrameStream to(pair.TakeServer(), ZlibFrameCodec(), server);
  ZlibFrameStream from(pair.TakeClient(), ZlibFrameCodec(), client);
  EXPECT_EQ(from.Send(std::string(1024 * 1024 + 1, 'x')), SendResult::kRefused);
  EXPECT_EQ(from.Send("fine"), SendResult::kSent);
  loop.RunUntilIdle();
  EXPECT_THAT(server.messages, ElementsAre("fine"));
}

}  // namespace
}  // namespace sluice::usp
