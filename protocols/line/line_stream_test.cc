#include "sluice/protocols/line/line_stream.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/line/line_codec.h"

namespace {

using sluice::line::LineCodec;
using sluice::line::LineStream;

// The example of line_stream.h, as it stands there.
class Echo : public sluice::line::LineHandler {
  void OnMessage(LineStream& stream, absl::Span<uint8_t> line) override {
    if (stream.Send(line) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(LineStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::line {
namespace {

using ::testing::ElementsAre;

static_assert(sizeof(LineStream) == 64);

// Writes down what arrives.
class Recorder : public LineHandler {
 public:
  std::vector<std::string> lines;
  absl::Status closed = absl::UnknownError("not closed");

 private:
  void OnMessage(LineStream&, absl::Span<uint8_t> line) override {
    lines.push_back(std::string(reinterpret_cast<const char*>(line.data()), line.size()));
  }
  void OnClose(LineStream&, const absl::Status& status) override { closed = status; }
};

TEST(LineStreamTest, HeaderExample) {
  Recorder recorder;
  Echo echo;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const SocketAddress address = SocketAddress::Ipv4Loopback(0);
  auto listener =
      sluice::Listener::Listen(*loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
        LineStream::Run(std::move(stream), LineCodec(), echo);
      });
  ASSERT_TRUE(listener.ok()) << listener.status();

  LineStream* client = nullptr;
  Connector connector(*loop);
  connector.Connect((*listener)->address(), {},
                    [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                      ASSERT_TRUE(stream.ok()) << stream.status();
                      client = &LineStream::Run(*std::move(stream), LineCodec(), recorder);
                      for (const char* const line : {"one", "", "three"}) client->Send(line);
                    });
  loop->RunUntil([&] { return recorder.lines.size() == 3; });
  EXPECT_THAT(recorder.lines, ElementsAre("one", "", "three"));
  client->Close();
  loop->RunUntil([&] { return loop->counters().streams == 0; });
  EXPECT_EQ(recorder.closed, absl::OkStatus());
}

TEST(LineStreamTest, ALastLineWithoutItsEndingIsDataLoss) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  LineStream stream(pair.TakeServer(), LineCodec(), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("whole\nnot who");
  client.stream().ShutdownSend();
  loop.RunUntilIdle();
  EXPECT_THAT(server.lines, ElementsAre("whole"));
  EXPECT_EQ(server.closed.code(), absl::StatusCode::kDataLoss) << server.closed;
}

TEST(LineStreamTest, ALineOverTheLimitEndsTheStream) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  LineStream stream(pair.TakeServer(), LineCodec({.max_line_bytes = 5}), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("fine\nsixsix");
  loop.RunUntilIdle();
  EXPECT_THAT(server.lines, ElementsAre("fine"));
  EXPECT_EQ(server.closed,
            absl::ResourceExhaustedError("127.0.0.1:1: receive: a line is longer than the limit of "
                                         "5 bytes (max_line_bytes)"));
}

TEST(LineStreamTest, AMessageThatIsNoLineIsRefusedAndTheStreamLivesOn) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  Recorder client;
  LineStream from(pair.TakeClient(), LineCodec({.max_line_bytes = 5}), client);
  LineStream to(pair.TakeServer(), LineCodec(), server);
  EXPECT_EQ(from.Send("a\nb"), SendResult::kRefused);
  EXPECT_EQ(from.Send("sixsix"), SendResult::kRefused);
  EXPECT_EQ(from.Send("fiver"), SendResult::kSent);
  loop.RunUntilIdle();
  EXPECT_THAT(server.lines, ElementsAre("fiver"));
}

}  // namespace
}  // namespace sluice::line
