#include "sluice/protocols/usp/connection.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/usp/cipher.h"
#include "sluice/protocols/usp/compression.h"
#include "sluice/protocols/usp/compressor.h"
#include "sluice/protocols/usp/header.h"
#include "sluice/protocols/usp/message_codec.h"

namespace sluice {
namespace {

// The example of connection.h, as it stands there.
class Echo : public usp::Handler {
  void OnMessage(usp::Connection& c, const usp::Message& message) override {
    if (c.Send(message) == SendResult::kBlocked) c.PauseReceiving();
  }
  void OnSendReady(usp::Connection& c) override { c.ResumeReceiving(); }
};

}  // namespace

namespace usp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Writes down what it is told, and does what it is told to.
class Recorder : public Handler {
 public:
  std::vector<std::string> heard;
  std::optional<absl::Status> closed;
  std::function<void(Connection&)> on_open;
  std::function<void(Connection&)> on_message;

 private:
  void OnOpen(Connection& connection) override {
    heard.push_back("open");
    if (on_open) on_open(connection);
  }
  void OnMessage(Connection& connection, const Message& message) override {
    heard.push_back(DescribeMessage(message));
    if (on_message) on_message(connection);
  }
  void OnSendReady(Connection& /*connection*/) override { heard.push_back("ready"); }
  void OnClose(Connection& /*connection*/, const absl::Status& status) override { closed = status; }
};

std::string Frame(const Message& message) {
  Buffer out;
  EXPECT_EQ(MessageCodec().Encode(message, out), EncodeResult::kEncoded);
  return out.ToString();
}
std::string Text(absl::string_view text) { return Frame({.body = AsBytes(text)}); }
std::string Ping() { return Frame({.type = MessageType::kPing}); }
std::string Pong() { return Frame({.type = MessageType::kPong}); }
// Which no codec without a cipher makes.
std::string Handshake(absl::string_view body) {
  std::string frame = Frame({.type = MessageType::kPing, .body = AsBytes(body)});
  frame[5] = 4;
  return frame;
}

template <typename Side>
std::unique_ptr<Side> Make(ConnectionOptions options) {
  absl::StatusOr<std::unique_ptr<Side>> side = Side::Create(std::move(options));
  EXPECT_TRUE(side.ok()) << side.status();
  return *std::move(side);
}

// A server's or a client's connection, and its peer as bytes.
class ConnectionTest : public testing::Test {
 protected:
  Connection& Serve(ConnectionOptions options = {}) {
    server = Make<Server>(std::move(options));
    peer.emplace(pair.TakeClient());
    return server->Serve(pair.TakeServer(), handler);
  }
  Connection& Open(ConnectionOptions options = {}) {
    client = Make<Client>(std::move(options));
    peer.emplace(pair.TakeServer());
    return client->Open(pair.TakeClient(), handler);
  }
  void Say(absl::string_view bytes) {
    peer->stream().Send(bytes);
    loop.RunUntilIdle();
  }
  std::string Heard() {
    loop.RunUntilIdle();
    return peer->TakeReceived();
  }

  // What outlives the connections, which end with the loop.
  Recorder handler;
  Recorder other;
  std::unique_ptr<Server> server;
  std::unique_ptr<Client> client;
  VirtualLoop loop;
  StreamPair pair{loop.loop()};
  std::optional<StreamRecorder> peer;
};

TEST(ConnectionExampleTest, HeaderExample) {
  Echo echo;
  Recorder recorder;
  auto client = Make<Client>({});
  auto server = usp::Server::Create({});
  SimulatedNetwork network(/*seed=*/1);
  SimulatedHost& here = network.AddHost("here");
  auto on_accept = [&](std::unique_ptr<Stream> stream) {
    (*server)->Serve(std::move(stream), echo);
  };
  auto listener = Listener::Listen(here.loop(), here.Address(7), {}, on_accept);
  ASSERT_TRUE(listener.ok()) << listener.status();
  recorder.on_open = [](Connection& connection) {
    const HeaderField header[] = {{"id", "7"}};
    connection.SendText("hello", header);
    connection.SendBinary(AsBytes(std::string(300'000, 'b')));
  };
  Connector connector(here.loop());
  connector.Connect(here.Address(7), {},
                    [&](auto stream) { client->Open(*std::move(stream), recorder); });
  ASSERT_TRUE(network.RunUntil([&] { return recorder.heard.size() == 3; }, absl::Minutes(1)));
  EXPECT_THAT(recorder.heard, ElementsAre("open", R"(text {"id":"7"} hello)",
                                          "binary " + std::string(300'000, 'b')));
}

// Over a network that delays, loses and cuts, for long.
TEST(ConnectionExampleTest, TheHeartbeatKeepsAConnection) {
  Recorder at_server, at_client;
  auto server = Make<Server>({});
  auto client = Make<Client>({});
  SimulatedNetwork network(/*seed=*/2);
  SimulatedHost& there = network.AddHost("there");
  SimulatedHost& here = network.AddHost("here");
  network.SetLink(there, here, {.latency = absl::Milliseconds(200), .loss = 0.05});
  Connection* connection = nullptr;
  auto listener = Listener::Listen(
      there.loop(), there.Address(7), {},
      [&](std::unique_ptr<Stream> stream) { server->Serve(std::move(stream), at_server); });
  ASSERT_TRUE(listener.ok()) << listener.status();
  Connector connector(here.loop());
  connector.Connect(there.Address(7), {}, [&](auto stream) {
    connection = &client->Open(*std::move(stream), at_client);
  });
  network.RunFor(absl::Minutes(10));
  ASSERT_FALSE(at_client.closed.has_value()) << *at_client.closed;
  ASSERT_FALSE(at_server.closed.has_value()) << *at_server.closed;
  connection->SendText("still here");
  network.RunFor(absl::Seconds(5));
  EXPECT_THAT(at_server.heard, ElementsAre("open", "text still here"));

  // And without a network it ends, on both sides.
  network.Partition(there, here);
  network.RunFor(absl::Seconds(36));
  EXPECT_EQ(at_client.closed->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ConnectionTest, MessagesComeAndGo) {
  Connection& connection = Serve();
  const HeaderField header[] = {{"id", "7"}};
  Say(Frame({.header = header, .body = AsBytes("hello")}) +
      Frame({.type = MessageType::kBinary, .body = AsBytes("\x01")}));
  EXPECT_THAT(handler.heard, ElementsAre("open", R"(text {"id":"7"} hello)", "binary \\x01"));
  EXPECT_EQ(connection.SendText("one"), SendResult::kSent);
  EXPECT_EQ(connection.SendBinary(AsBytes("two"), header), SendResult::kSent);
  EXPECT_EQ(Heard(),
            Text("one") +
                Frame({.type = MessageType::kBinary, .header = header, .body = AsBytes("two")}));
}

TEST_F(ConnectionTest, OpensByItself) {
  Connection& connection = Serve();
  EXPECT_TRUE(connection.open());
  EXPECT_THAT(handler.heard, IsEmpty()) << "called from inside a call";
  loop.RunUntilIdle();
  EXPECT_THAT(handler.heard, ElementsAre("open"));
}

TEST_F(ConnectionTest, AnswersWithinTheMessage) {
  handler.on_message = [](Connection& connection) { connection.SendText("answer"); };
  Serve();
  Say(Text("question"));
  EXPECT_EQ(Heard(), Text("answer"));
}

TEST_F(ConnectionTest, CompressesBothWays) {
  Connection& connection = Open({.message = {.compressor = &ZlibCompressor(),
                                             .compression = CompressionAlgorithm::kGzip,
                                             .min_compress_bytes = 100}});
  const std::string text(100'000, 'x');
  connection.SendText(text);
  const std::string sent = Heard();
  EXPECT_LT(sent.size(), 1000u);
  Say(sent + sent);
  EXPECT_THAT(handler.heard, ElementsAre("open", "text " + text, "text " + text));
}

TEST_F(ConnectionTest, RefusesWhatItCannotSendAndLivesOn) {
  Connection& connection = Serve({.message = {.max_message_bytes = 10}});
  EXPECT_EQ(connection.SendText("longer than that"), SendResult::kRefused);
  const HeaderField no_utf8[] = {{"a", "\xff"}};
  EXPECT_EQ(connection.SendText("x", no_utf8), SendResult::kRefused);
  EXPECT_EQ(connection.Send({.type = MessageType::kPing}), SendResult::kRefused);
  EXPECT_EQ(connection.SendText("short"), SendResult::kSent);
  EXPECT_EQ(Heard(), Text("short"));
}

TEST_F(ConnectionTest, ClosesGracefully) {
  Connection& connection = Serve();
  connection.SendText("bye");
  connection.Close();
  EXPECT_EQ(connection.SendText("more"), SendResult::kRefused);
  EXPECT_FALSE(connection.open());
  EXPECT_EQ(Heard(), Text("bye"));
  EXPECT_EQ(handler.closed, absl::OkStatus());
}

TEST_F(ConnectionTest, APeerThatEndsIsClosedGracefully) {
  Serve();
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(handler.closed, absl::OkStatus());
}

TEST_F(ConnectionTest, APeerThatEndsWithinAMessageHasLostIt) {
  Serve();
  Say(Text("hello").substr(0, 12));
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(handler.closed->code(), absl::StatusCode::kDataLoss);
}

TEST_F(ConnectionTest, ClosesWithinOnOpenAndHearsNothing) {
  handler.on_open = [](Connection& connection) { connection.Close(); };
  Serve();
  Say(Text("hello"));
  EXPECT_THAT(handler.heard, ElementsAre("open"));
  EXPECT_EQ(handler.closed, absl::OkStatus());
}

TEST_F(ConnectionTest, AbortsWithinAMessage) {
  handler.on_message = [](Connection& connection) {
    connection.Abort(absl::AbortedError("enough"));
  };
  Serve();
  Say(Text("one") + Text("two"));
  EXPECT_THAT(handler.heard, ElementsAre("open", "text one"));
  EXPECT_EQ(handler.closed, absl::AbortedError("enough"));
}

TEST_F(ConnectionTest, ADrainClosesGracefully) {
  Serve();
  loop.RunUntilIdle();
  bool drained = false;
  loop.loop().Drain(absl::Seconds(10), [&] { drained = true; });
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_TRUE(drained);
  EXPECT_EQ(handler.closed, absl::OkStatus());
}

TEST_F(ConnectionTest, HandlersCanBeGivenAway) {
  class Farewell : public Handler {
   public:
    explicit Farewell(bool& gone) : gone_(gone) {}
    ~Farewell() override { gone_ = true; }
    void OnMessage(Connection& connection, const Message& /*message*/) override {
      connection.Close();
    }

   private:
    bool& gone_;
  };
  bool gone = false;
  server = Make<Server>({});
  peer.emplace(pair.TakeClient());
  server->Serve(pair.TakeServer(), std::make_unique<Farewell>(gone));
  Say(Text("go"));
  EXPECT_TRUE(gone);
  EXPECT_TRUE(peer->ended());
}

TEST_F(ConnectionTest, ASlowReaderBlocksTheSenderAndIsReadyAgain) {
  Connection& connection = Serve();
  loop.RunUntilIdle();
  pair.to_client().set_capacity(1000);
  connection.stream().SetLimits({.high = 5000, .low = 2000, .hard = 20'000});
  peer->stream().PauseReceiving();
  loop.RunUntilIdle();
  EXPECT_EQ(connection.SendBinary(AsBytes(std::string(10'000, 'b'))), SendResult::kBlocked);
  loop.RunUntilIdle();
  peer->stream().ResumeReceiving();
  loop.RunUntilIdle();
  EXPECT_THAT(handler.heard, ElementsAre("open", "ready"));
}

// What breaks the rules.

TEST_F(ConnectionTest, AStrayHandshakeIsAnError) {
  for (const std::string& body : {std::string(), std::string("key"), std::string(5000, 'k')}) {
    auto own_server = Make<Server>({});
    Recorder recorder;
    VirtualLoop own_loop;
    StreamPair own_pair(own_loop.loop());
    own_server->Serve(own_pair.TakeServer(), recorder);
    StreamRecorder own_peer(own_pair.TakeClient());
    own_peer.stream().Send(Handshake(body));
    own_loop.RunUntilIdle();
    ASSERT_TRUE(recorder.closed.has_value());
    EXPECT_THAT(recorder.closed->ToString(),
                HasSubstr("FAILED_PRECONDITION: 127.0.0.1:1: receive: a handshake message, and "
                          "encryption is off"));
  }
}

TEST_F(ConnectionTest, AMessageOverTheLimitEndsTheConnection) {
  Serve({.message = {.max_message_bytes = 100}});
  Say(Text(std::string(100, 'x')) + Text(std::string(101, 'x')));
  EXPECT_EQ(handler.heard.size(), 2u);
  EXPECT_EQ(handler.closed->code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(ConnectionTest, OptionsAreChecked) {
  EXPECT_EQ(Server::Create({.ping_interval = absl::ZeroDuration()}).status(),
            absl::InvalidArgumentError("ping_interval is 0; accepted: more than zero"));
  EXPECT_EQ(Client::Create({.heartbeat_timeout = absl::Seconds(-1)}).status(),
            absl::InvalidArgumentError("heartbeat_timeout is -1s; accepted: more than zero"));
  EXPECT_EQ(Client::Create({.handshake_timeout = absl::ZeroDuration()}).status(),
            absl::InvalidArgumentError("handshake_timeout is 0; accepted: more than zero"));
  EXPECT_FALSE(Server::Create({.message = {.max_message_bytes = 0}}).ok());
  EXPECT_EQ(Server::Create({.ping_interval = absl::Seconds(30)}).status(),
            absl::InvalidArgumentError("ping_interval is 30s; accepted: less than "
                                       "heartbeat_timeout, which is 30s, or infinite"));
  EXPECT_TRUE(Server::Create({.ping_interval = absl::InfiniteDuration()}).ok());
  EXPECT_TRUE(Client::Create({.heartbeat_timeout = absl::Seconds(1)}).ok()) << "it does not ping";
}

// The heartbeat.

constexpr absl::Duration kStep = absl::Milliseconds(1);

TEST_F(ConnectionTest, AServerPingsEveryInterval) {
  Serve();
  loop.RunUntilIdle();
  loop.Advance(absl::Seconds(5) - kStep);
  EXPECT_EQ(Heard(), "");
  loop.Advance(kStep);
  EXPECT_EQ(Heard(), Ping());
  loop.Advance(absl::Seconds(5));
  EXPECT_EQ(Heard(), Ping());
}

TEST_F(ConnectionTest, AClientAnswersPingsAndSendsNone) {
  Open();
  loop.Advance(absl::Seconds(20));
  EXPECT_EQ(Heard(), "");
  Say(Ping());
  EXPECT_EQ(Heard(), Pong());
  Say(Ping() + Ping() + Ping());
  EXPECT_EQ(Heard(), "") << "pings that come at once are answered once";
  loop.Advance(absl::Seconds(5));
  Say(Ping() + Ping());
  EXPECT_EQ(Heard(), Pong());
  EXPECT_THAT(handler.heard, ElementsAre("open"));
}

TEST_F(ConnectionTest, AServerEndsWithAClientThatIsSilent) {
  Serve();
  loop.RunUntilIdle();
  loop.Advance(absl::Seconds(30) - kStep);
  EXPECT_FALSE(handler.closed.has_value());
  loop.Advance(kStep);
  EXPECT_EQ(handler.closed,
            absl::DeadlineExceededError("127.0.0.1:1: nothing was received for 30s"));
}

TEST_F(ConnectionTest, AClientEndsWithAServerThatIsSilent) {
  Open({.heartbeat_timeout = absl::Seconds(7)});
  loop.RunUntilIdle();
  loop.Advance(absl::Seconds(7) - kStep);
  EXPECT_FALSE(handler.closed.has_value());
  loop.Advance(kStep);
  EXPECT_EQ(handler.closed->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ConnectionTest, AnyMessageCountsForTheHeartbeat) {
  Serve();
  loop.RunUntilIdle();
  for (const std::string& frame : {Pong(), Ping(), Text("x")}) {
    loop.Advance(absl::Seconds(29));
    ASSERT_FALSE(handler.closed.has_value());
    Say(frame);
  }
  loop.Advance(absl::Seconds(30) - kStep);
  EXPECT_FALSE(handler.closed.has_value());
  loop.Advance(kStep);
  EXPECT_TRUE(handler.closed.has_value());
}

TEST_F(ConnectionTest, WhilePausedTheTimeoutStandsStill) {
  Connection& connection = Serve();
  connection.PauseReceiving();
  loop.Advance(absl::Hours(1));
  EXPECT_FALSE(handler.closed.has_value());
  connection.ResumeReceiving();
  loop.Advance(absl::Seconds(30) - kStep);
  EXPECT_FALSE(handler.closed.has_value());
  loop.Advance(kStep);
  EXPECT_TRUE(handler.closed.has_value());
}

TEST_F(ConnectionTest, NothingIsPingedAfterTheEnd) {
  Connection& connection = Serve();
  loop.RunUntilIdle();
  peer->KeepOpen();
  connection.Close();
  loop.Advance(absl::Minutes(1));
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(handler.closed, absl::OkStatus());
}

// A client that reads nothing, and says pings all the time: what waits for it is bounded.
TEST_F(ConnectionTest, PongsForAPeerThatDoesNotReadAreBounded) {
  Connection& connection = Serve();
  pair.to_client().set_capacity(0);
  connection.stream().SetLimits({.high = 100, .low = 50, .hard = 200});
  for (int i = 0; i < 2000; ++i) {
    Say(Ping());
    loop.Advance(kStep);
  }
  EXPECT_FALSE(handler.closed.has_value());
  EXPECT_LE(connection.queued_bytes(), 200 + Stream::kControlReserve);
}

TEST_F(ConnectionTest, NothingIsDeliveredThatIsPausedInOnOpen) {
  handler.on_open = [](Connection& connection) { connection.PauseReceiving(); };
  peer.emplace(pair.TakeClient());
  server = Make<Server>({});
  peer->stream().Send(Text("early"));
  Connection& connection = server->Serve(pair.TakeServer(), handler);
  loop.RunUntilIdle();
  EXPECT_THAT(handler.heard, ElementsAre("open"));
  connection.ResumeReceiving();
  loop.RunUntilIdle();
  EXPECT_THAT(handler.heard, ElementsAre("open", "text early"));
}

TEST_F(ConnectionTest, APauseBeforeOnOpenHolds) {
  Connection& connection = Serve();
  connection.PauseReceiving();
  Say(Text("early"));
  EXPECT_THAT(handler.heard, ElementsAre("open"));
  connection.ResumeReceiving();
  loop.RunUntilIdle();
  EXPECT_THAT(handler.heard, ElementsAre("open", "text early"));
}

TEST_F(ConnectionTest, InfiniteIsNever) {
  Serve({.ping_interval = absl::InfiniteDuration(), .heartbeat_timeout = absl::InfiniteDuration()});
  loop.RunUntilIdle();
  loop.Advance(absl::Hours(24));
  EXPECT_EQ(Heard(), "");
  EXPECT_FALSE(handler.closed.has_value());
}

TEST_F(ConnectionTest, ACipherThatIsNotMadeEndsTheConnection) {
  ConnectionOptions options;
  options.make_cipher = [] { return nullptr; };
  Connection& connection = Serve(std::move(options));
  EXPECT_EQ(connection.SendText("secret"), SendResult::kRefused);
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(handler.closed, absl::InternalError("make_cipher has made no cipher"));
}

// With a cipher.

// Begins as a client's does, or answers as a server's. XORs.
class ToyCipher : public Cipher {
 public:
  explicit ToyCipher(bool begins) : begins_(begins) {}

  absl::StatusOr<std::optional<std::string>> Begin() override {
    if (!begins_) return std::nullopt;
    return std::string("key");
  }
  absl::StatusOr<std::optional<std::string>> OnHandshake(absl::Span<const uint8_t> body) override {
    if (ready_) return absl::InvalidArgumentError("a second handshake");
    if (!begins_ && body.size() != 3) return absl::InvalidArgumentError("no key");
    ready_ = true;
    if (begins_) return std::nullopt;
    return std::string();
  }
  bool ready() const override { return ready_; }
  void Encrypt(std::string& bytes) override {
    for (char& c : bytes) c = static_cast<char>(c ^ 0x55);
  }
  absl::StatusOr<absl::Span<uint8_t>> Decrypt(absl::Span<uint8_t> bytes) override {
    for (uint8_t& byte : bytes) byte ^= 0x55;
    return bytes;
  }

 private:
  const bool begins_;
  bool ready_ = false;
};

ConnectionOptions Toy(bool begins) {
  ConnectionOptions options;
  options.make_cipher = [begins] { return std::make_unique<ToyCipher>(begins); };
  return options;
}

TEST_F(ConnectionTest, AHandshakeOpensBothSides) {
  server = Make<Server>(Toy(/*begins=*/false));
  client = Make<Client>(Toy(/*begins=*/true));
  server->Serve(pair.TakeServer(), other);
  Connection& connection = client->Open(pair.TakeClient(), handler);
  EXPECT_FALSE(connection.open());
  EXPECT_EQ(connection.SendText("too soon"), SendResult::kRefused);
  handler.on_open = [](Connection& opened) { opened.SendText("hello"); };
  other.on_message = [](Connection& answering) { answering.SendText("welcome"); };
  loop.RunUntilIdle();
  EXPECT_THAT(other.heard, ElementsAre("open", "text hello"));
  EXPECT_THAT(handler.heard, ElementsAre("open", "text welcome"));
  loop.Advance(absl::Minutes(10));
  EXPECT_FALSE(handler.closed.has_value());
  EXPECT_FALSE(other.closed.has_value());
}

TEST_F(ConnectionTest, NothingIsDeliveredThatIsPausedInOnOpenAfterAHandshake) {
  handler.on_open = [](Connection& connection) { connection.PauseReceiving(); };
  Connection& connection = Serve(Toy(/*begins=*/false));
  std::string early = Text("early");
  early[7] = 1;
  for (size_t i = 10; i < early.size(); ++i) early[i] = static_cast<char>(early[i] ^ 0x55);
  Say(Handshake("key") + early);
  EXPECT_THAT(handler.heard, ElementsAre("open"));
  connection.ResumeReceiving();
  loop.RunUntilIdle();
  EXPECT_THAT(handler.heard, ElementsAre("open", "text early"));
}

TEST_F(ConnectionTest, APauseDoesNotHinderTheHandshake) {
  Connection& connection = Serve(Toy(/*begins=*/false));
  connection.PauseReceiving();
  Say(Handshake("key"));
  loop.Advance(absl::Seconds(11));
  EXPECT_FALSE(handler.closed.has_value());
  EXPECT_TRUE(connection.open());
}

TEST_F(ConnectionTest, AHandshakeThatIsWrongEndsTheConnection) {
  Serve(Toy(/*begins=*/false));
  Say(Handshake("no"));
  EXPECT_EQ(handler.closed, absl::InvalidArgumentError("no key"));
  EXPECT_THAT(handler.heard, IsEmpty());
}

TEST_F(ConnectionTest, ASecondHandshakeEndsTheConnection) {
  Serve(Toy(/*begins=*/false));
  Say(Handshake("key"));
  EXPECT_EQ(Heard(), Handshake(""));
  Say(Handshake("key"));
  EXPECT_EQ(handler.closed, absl::InvalidArgumentError("a second handshake"));
}

TEST_F(ConnectionTest, AMessageWithTheHandshakeBringsNoPingBeforeItsTime) {
  Serve(Toy(/*begins=*/false));
  Say(Handshake("key") + Text(""));
  EXPECT_EQ(Heard(), Handshake(""));
  EXPECT_THAT(handler.heard, ElementsAre("open", "text "));
}

TEST_F(ConnectionTest, ACipherThatCannotBeginEndsTheConnection) {
  class Broken : public ToyCipher {
   public:
    Broken() : ToyCipher(true) {}
    absl::StatusOr<std::optional<std::string>> Begin() override {
      return absl::InternalError("no dice");
    }
  };
  ConnectionOptions options;
  options.make_cipher = [] { return std::make_unique<Broken>(); };
  Open(std::move(options));
  loop.RunUntilIdle();
  EXPECT_EQ(handler.closed, absl::InternalError("no dice"));
}

TEST_F(ConnectionTest, AHandshakeThatDoesNotComeIsWaitedForSoLong) {
  Serve(Toy(/*begins=*/false));
  for (int i = 0; i < 9; ++i) {
    loop.Advance(absl::Seconds(1));
    Say(Ping());
  }
  EXPECT_FALSE(handler.closed.has_value());
  loop.Advance(absl::Seconds(1));
  EXPECT_EQ(handler.closed, absl::DeadlineExceededError("127.0.0.1:1: no handshake within 10s"));
}

}  // namespace
}  // namespace usp
}  // namespace sluice
