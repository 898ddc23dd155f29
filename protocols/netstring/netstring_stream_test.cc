#include "sluice/protocols/netstring/netstring_stream.h"

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
#include "sluice/protocols/netstring/netstring_codec.h"

namespace {

using sluice::netstring::NetstringCodec;
using sluice::netstring::NetstringStream;

// The example of netstring_stream.h, as it stands there.
class Echo : public sluice::netstring::NetstringHandler {
  void OnMessage(NetstringStream& stream, absl::Span<uint8_t> message) override {
    if (stream.SendInPlace(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(NetstringStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::netstring {
namespace {

using ::testing::ElementsAre;

static_assert(sizeof(NetstringStream) == 64);

// Writes down what arrives.
class Recorder : public NetstringHandler {
 public:
  std::vector<std::string> messages;
  absl::Status closed = absl::UnknownError("not closed");

 private:
  void OnMessage(NetstringStream&, absl::Span<uint8_t> message) override {
    messages.push_back(std::string(reinterpret_cast<const char*>(message.data()), message.size()));
  }
  void OnClose(NetstringStream&, const absl::Status& status) override { closed = status; }
};

TEST(NetstringStreamTest, HeaderExample) {
  Recorder recorder;
  Echo echo;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const SocketAddress address = SocketAddress::Ipv4Loopback(0);
  auto listener =
      sluice::Listener::Listen(*loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
        NetstringStream::Run(std::move(stream), NetstringCodec(), echo);
      });
  ASSERT_TRUE(listener.ok()) << listener.status();

  NetstringStream* client = nullptr;
  Connector connector(*loop);
  connector.Connect(
      (*listener)->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
        ASSERT_TRUE(stream.ok()) << stream.status();
        client = &NetstringStream::Run(*std::move(stream), NetstringCodec(), recorder);
        for (const size_t size : {0, 5, 1000, 300'000, 7}) client->Send(std::string(size, 'm'));
      });
  loop->RunUntil([&] { return recorder.messages.size() == 5; });
  EXPECT_THAT(recorder.messages, ElementsAre("", std::string(5, 'm'), std::string(1000, 'm'),
                                             std::string(300'000, 'm'), std::string(7, 'm')));
  client->Close();
  loop->RunUntil([&] { return loop->counters().streams == 0; });
  EXPECT_EQ(recorder.closed, absl::OkStatus());
}

TEST(NetstringStreamTest, AnErrorEndsTheStream) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  NetstringStream stream(pair.TakeServer(), NetstringCodec(500), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("4:fine,4:hello,");
  loop.RunUntilIdle();
  EXPECT_THAT(server.messages, ElementsAre("fine"));
  EXPECT_EQ(server.closed,
            absl::InvalidArgumentError(
                "127.0.0.1:1: receive: a netstring of 4 bytes is followed by 'o', not by a comma"));
}

TEST(NetstringStreamTest, AnEndInTheMiddleOfAMessageIsDataLoss) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Recorder server;
  NetstringStream stream(pair.TakeServer(), NetstringCodec(), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("5:whole,5:cut");
  client.stream().ShutdownSend();
  loop.RunUntilIdle();
  EXPECT_THAT(server.messages, ElementsAre("whole"));
  EXPECT_EQ(server.closed.code(), absl::StatusCode::kDataLoss) << server.closed;
}

}  // namespace
}  // namespace sluice::netstring
