#include "sluice/protocols/resp/resp_stream.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/prepared_message.h"
#include "sluice/protocols/resp/command_codec.h"
#include "sluice/protocols/resp/encode.h"
#include "sluice/protocols/resp/reply_codec.h"
#include "sluice/protocols/resp/value.h"

namespace {

using sluice::resp::CommandCodec;
using sluice::resp::ServerStream;

// The example of resp_stream.h, as it stands there.
class Pong : public sluice::resp::ServerHandler {
  void OnMessage(ServerStream& stream, sluice::resp::Command command) override {
    const auto result = stream.Send([&](auto& reply) {
      if (command.name() == "PING") return reply.SimpleString("PONG");
      reply.Error("ERR unknown command");
    });
    if (result == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(ServerStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::resp {
namespace {

// Writes down what arrives.
class Recorder : public ClientHandler {
 public:
  std::string replies;
  absl::Status closed = absl::UnknownError("not closed");

 private:
  void OnMessage(ClientStream&, Value value) override { replies += DescribeMessage(value); }
  void OnClose(ClientStream&, const absl::Status& status) override { closed = status; }
};

TEST(RespStreamTest, HeaderExample) {
  Recorder recorder;
  Pong pong;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const SocketAddress address = SocketAddress::Ipv4Loopback(0);
  auto listener =
      sluice::Listener::Listen(*loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
        ServerStream::Run(std::move(stream), CommandCodec(), pong);
      });
  ASSERT_TRUE(listener.ok()) << listener.status();
  Connector connector(*loop);
  connector.Connect((*listener)->address(), {}, [&](auto stream) {
    ASSERT_TRUE(stream.ok()) << stream.status();
    ClientStream& client = ClientStream::Run(*std::move(stream), ReplyCodec(), recorder);
    client.Send(Arguments{"PING"});
    client.Send(Arguments{"PONG"});
  });
  const std::string expected = "+PONG\r\n-ERR unknown command\r\n";
  loop->RunUntil([&] { return recorder.replies.size() >= expected.size(); });
  EXPECT_EQ(recorder.replies, expected);
}

// One who speaks no RESP is told so before the end, and what he still sends does no harm.
TEST(RespStreamTest, AServerTellsTheErrorAndCloses) {
  Pong pong;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  ServerStream::Run(pair.TakeServer(), CommandCodec(), pong);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("PING\r\n*1\r\n$x\r\n*1\r\n$4\r\nPING\r\n");
  loop.RunUntilIdle();
  EXPECT_EQ(client.received(), "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n");
  EXPECT_TRUE(client.ended());
}

// A silent connection does not keep the lists of the largest message that it ever saw.
TEST(RespStreamTest, LongListsAreGivenBackBehindTheirMessage) {
  Pong pong;
  Recorder recorder;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  ServerStream& server = ServerStream::Run(pair.TakeServer(), CommandCodec(), pong);
  ClientStream client(pair.TakeClient(), ReplyCodec(), recorder);
  const std::vector<absl::string_view> arguments(10'000, "x");
  client.Send(Arguments(arguments));
  server.Send([](auto& reply) {
    reply.Array(10'000);
    for (int64_t i = 0; i < 10'000; ++i) reply.Integer(i);
  });
  loop.RunUntilIdle();
  EXPECT_THAT(recorder.replies, testing::HasSubstr(":9999\r\n"));
  EXPECT_THAT(recorder.replies, testing::HasSubstr("-ERR unknown command\r\n"));
  EXPECT_LE(server.codec().memory_bytes(), 1024u);
  EXPECT_LE(client.codec().memory_bytes(), 2048u);
}

TEST(RespStreamTest, TheVersionBelongsToTheConnection) {
  class Server : public ServerHandler {
    void OnMessage(ServerStream& stream, Command command) override {
      if (command.name() == "3") stream.codec().set_version(Version::kResp3);
      stream.Send([](auto& reply) { reply.Null(); });
    }
  };
  Server server;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  ServerStream::Run(pair.TakeServer(), CommandCodec(), server);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("2\r\n3\r\n2\r\n");
  loop.RunUntilIdle();
  EXPECT_EQ(client.received(), "$-1\r\n_\r\n_\r\n");
}

// A streamed string is joined in place, also where its bytes arrive one by one.
TEST(RespStreamTest, AStreamedStringArrivesInPieces) {
  for (const size_t chunk : {1, 2, 3, 7, 1000}) {
    Recorder recorder;
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    pair.to_client().set_max_chunk(chunk);
    ClientStream client(pair.TakeClient(), ReplyCodec(), recorder);
    StreamRecorder server(pair.TakeServer());
    server.stream().Send("*2\r\n$?\r\n;4\r\nHell\r\n;6\r\no worl\r\n;1\r\nd\r\n;0\r\n:1\r\n+x\r\n");
    loop.RunUntilIdle();
    EXPECT_EQ(recorder.replies, "*2\r\n$11\r\nHello world\r\n:1\r\n+x\r\n") << chunk;
  }
}

// What the two ends of a conversation say.
struct Words {
  std::vector<std::string> words;
};
struct Text {
  std::string text;
};
class TalkingClient : public ReplyCodec {
 public:
  EncodeResult Encode(const Words& command, Buffer& out) const {
    const std::vector<absl::string_view> views(command.words.begin(), command.words.end());
    return ReplyCodec::Encode(Arguments(views), out);
  }
};
class TalkingServer : public CommandCodec {
 public:
  EncodeResult Encode(const Text& text, Buffer& out) const {
    return CommandCodec::Encode([&](auto& reply) { reply.BulkString(text.text); }, out);
  }
};
std::string DescribeMessage(const Words& command) {
  Buffer out;
  TalkingClient().Encode(command, out);
  return out.ToString();
}
std::string DescribeMessage(const Text& text) {
  Buffer out;
  TalkingServer().Encode(text, out);
  return out.ToString();
}

TEST(RespStreamTest, ConversesOverABadNetwork) {
  const auto text = [](std::minstd_rand& random) {
    return std::string(random() % 300, static_cast<char>(random()));
  };
  codec_testing::ExpectConverses(
      TalkingClient(),
      [&](std::minstd_rand& random) {
        return Words{{"ECHO", text(random)}};
      },
      TalkingServer(), [&](std::minstd_rand& random) { return Text{text(random)}; });
}

TEST(RespStreamTest, APushIsEncodedOnceForAllThatSubscribe) {
  VirtualLoop loop;
  Pong pong;
  Recorder recorder;
  CommandCodec codec;
  codec.set_version(Version::kResp3);
  const PreparedMessage<CommandCodec> push(codec, [](auto& reply) {
    reply.Push(2);
    reply.BulkString("message");
    reply.BulkString("news");
  });
  for (int i = 0; i < 2; ++i) {
    StreamPair pair(loop.loop());
    ServerStream server(pair.TakeServer(), codec, pong);
    ClientStream client(pair.TakeClient(), ReplyCodec(), recorder);
    EXPECT_EQ(server.Send(push), SendResult::kSent);
    loop.RunUntilIdle();
  }
  const std::string received = ">2\r\n$7\r\nmessage\r\n$4\r\nnews\r\n";
  EXPECT_EQ(recorder.replies, received + received);
}

}  // namespace
}  // namespace sluice::resp
