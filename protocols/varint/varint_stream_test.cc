#include "sluice/protocols/varint/varint_stream.h"

#include <cstddef>
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
#include "sluice/protocols/varint/varint_codec.h"

namespace {

using sluice::varint::VarintCodec;
using sluice::varint::VarintStream;

// The example of varint_stream.h, as it stands there.
class Echo : public sluice::varint::VarintHandler {
  void OnMessage(VarintStream& stream, absl::Span<uint8_t> message) override {
    if (stream.SendInPlace(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(VarintStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::varint {
namespace {

using ::testing::ElementsAre;

static_assert(sizeof(VarintStream) == 64);

// Writes down what arrives.
class Recorder : public VarintHandler {
 public:
  std::vector<std::string> messages;
  absl::Status closed = absl::UnknownError("not closed");

 private:
  void OnMessage(VarintStream&, absl::Span<uint8_t> message) override {
    messages.push_back(std::string(reinterpret_cast<const char*>(message.data()), message.size()));
  }
  void OnClose(VarintStream&, const absl::Status& status) override { closed = status; }
};

TEST(VarintStreamTest, HeaderExample) {
  Recorder recorder;
  Echo echo;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const SocketAddress address = SocketAddress::Ipv4Loopback(0);
  auto listener =
      sluice::Listener::Listen(*loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
        VarintStream::Run(std::move(stream), VarintCodec(), echo);
      });
  ASSERT_TRUE(listener.ok()) << listener.status();

  VarintStream* client = nullptr;
  Connector connector(*loop);
  connector.Connect((*listener)->address(), {},
                    [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                      ASSERT_TRUE(stream.ok()) << stream.status();
                      client = &VarintStream::Run(*std::move(stream), VarintCodec(), recorder);
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

TEST(VarintStreamTest, AnErrorEndsTheStream) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  VarintStream stream(pair.TakeServer(), VarintCodec(500), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("\4fine\xff\x7f");
  loop.RunUntilIdle();
  EXPECT_THAT(server.messages, ElementsAre("fine"));
  EXPECT_EQ(server.closed,
            absl::ResourceExhaustedError("127.0.0.1:1: receive: a message of 16383 bytes is over "
                                         "the limit of 500 (max_message_bytes)"));
}

TEST(VarintStreamTest, AnEndInTheMiddleOfAMessageIsDataLoss) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  VarintStream stream(pair.TakeServer(), VarintCodec(), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("\5whole\5cut");
  client.stream().ShutdownSend();
  loop.RunUntilIdle();
  EXPECT_THAT(server.messages, ElementsAre("whole"));
  EXPECT_EQ(server.closed.code(), absl::StatusCode::kDataLoss) << server.closed;
}

}  // namespace
}  // namespace sluice::varint
