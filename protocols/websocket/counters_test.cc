#include "sluice/protocols/websocket/counters.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/connection_fixture.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/internal/words.h"
#include "sluice/protocols/websocket/message_source.h"
#include "sluice/protocols/websocket/message_writer.h"
#include "sluice/protocols/websocket/prepared_message.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

using internal::Words;

void ExpectSame(const Counters::Traffic& a, const Counters::Traffic& b) {
  EXPECT_EQ(a.messages, b.messages);
  EXPECT_EQ(a.bytes, b.bytes);
  EXPECT_EQ(a.compressed_messages, b.compressed_messages);
  EXPECT_EQ(a.plain_bytes, b.plain_bytes);
  EXPECT_EQ(a.compressed_bytes, b.compressed_bytes);
  EXPECT_EQ(a.pings, b.pings);
  EXPECT_EQ(a.pongs, b.pongs);
}

uint64_t RefusedInAll(const Counters& counters) {
  return std::accumulate(counters.refused.begin(), counters.refused.end(), uint64_t{0},
                         [](uint64_t sum, const auto& entry) { return sum + entry.second; });
}

uint64_t ClosedInAll(const Counters& counters) {
  return std::accumulate(counters.closed.begin(), counters.closed.end(), uint64_t{0},
                         [](uint64_t sum, const auto& entry) {
                           return sum + entry.second.by_peer + entry.second.by_us;
                         });
}

// ---- connections

class CountersTest : public ServerFixture {
 protected:
  // What counters.h says of them, which holds at any time.
  void ExpectBalance() {
    const Counters& counters = server->counters();
    EXPECT_EQ(begun_, counters.handshaking + counters.opened + counters.timed_out +
                          counters.broken_off + RefusedInAll(counters));
    EXPECT_EQ(counters.opened, counters.open + ClosedInAll(counters));
  }
  Session& BeginOne() {
    ++begun_;
    return Begin();
  }
  Session& OpenOne() {
    ++begun_;
    return Open();
  }
  void Refuse(absl::string_view request) {
    Session& session = BeginOne();
    session.Say(request);
    ExpectBalance();
    session.client->stream().Close();
    loop.RunUntilIdle();
    ExpectBalance();
  }

  uint64_t begun_ = 0;
};

TEST_F(CountersTest, HandshakesAreCountedByTheirOutcome) {
  options.handshake.allowed_origins = {"https://one.example"};
  OpenOne();
  Refuse("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  Refuse("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  Refuse("POST / HTTP/1.1\r\nHost: h\r\n\r\n");
  Refuse("\x16\x03\x01");
  Refuse(absl::StrCat("GET / HTTP/1.1\r\nOrigin: https://two.example\r\n",
                      kUpgradeRequest.substr(16)));
  Session& slow = BeginOne();
  slow.Say("GET");
  Session& gone = BeginOne();
  gone.Say("GET");
  EXPECT_EQ(server->counters().handshaking, 2u);
  gone.pair.Break();
  Session& ended = BeginOne();
  ended.client->stream().Close();
  loop.RunUntilIdle();
  ExpectBalance();
  loop.Advance(absl::Seconds(11));
  ExpectBalance();
  const Counters& counters = server->counters();
  EXPECT_EQ(counters.handshaking, 0u);
  EXPECT_EQ(counters.open, 1u);
  EXPECT_EQ(counters.opened, 1u);
  EXPECT_EQ(counters.timed_out, 1u);
  EXPECT_EQ(counters.broken_off, 2u);
  EXPECT_EQ(counters.refused, (std::map<int, uint64_t>{{400, 1}, {403, 1}, {405, 1}, {426, 2}}));
  EXPECT_EQ(counters.refused_by_handler, 0u);
}

TEST_F(CountersTest, ClosesAreCountedByCodeAndByWhoBegan) {
  OpenOne().Say(Opcode::kClose, ClosePayload(1000));
  OpenOne().Say(Opcode::kClose, "");
  OpenOne().Say(Opcode::kClose, ClosePayload(4321));
  OpenOne().connection().Close(CloseCode::kGoingAway);
  OpenOne().connection().Close(static_cast<CloseCode>(4321));
  OpenOne().Say(Opcode::kText, "\xff");
  OpenOne().pair.Break();
  OpenOne().connection().Abort(absl::CancelledError("enough"));
  loop.RunUntilIdle();
  ExpectBalance();
  loop.Advance(absl::Seconds(30));  // no client answers
  ExpectBalance();
  std::string all;
  for (const auto& [code, closed] : server->counters().closed)
    absl::StrAppend(&all, static_cast<int>(code), ":", closed.by_peer, "/", closed.by_us, " ");
  EXPECT_EQ(all, "1000:1/0 1001:0/1 1005:1/0 1006:0/2 1007:0/1 4321:1/1 ");
  EXPECT_EQ(server->counters().open, 0u);
}

TEST_F(CountersTest, SendsThatAreRefusedAreCounted) {
  Session& session = OpenOne();
  session.connection().stream().SetLimits({1000, 500, 5000});
  session.pair.to_client().set_capacity(1);
  const std::vector<uint8_t> bytes(900);
  uint64_t sent = 0;
  Connection& connection = session.connection();
  while (connection.SendBinary(bytes) != SendResult::kRefused) ++sent;
  EXPECT_EQ(connection.SendText("after the end"), SendResult::kRefused);
  EXPECT_EQ(connection.Send(PreparedMessage::Text("after the end")), SendResult::kRefused);
  EXPECT_EQ(server->counters().sends_refused, 3u);
  EXPECT_EQ(server->counters().out.messages, sent);
  EXPECT_EQ(server->counters().out.bytes, 900 * sent);
}

// ---- messages, between two ends that count by themselves, too

// Counts what it is given, and sends some of it back.
struct End : Handler {
  void OnRequest(Connection&, const HandshakeRequest& request, HandshakeReply& reply) override {
    if (request.path() != "/") reply.Respond(404, "");
  }
  void OnOpen(Connection& c) override { connection = &c; }
  void OnMessage(Connection& c, const Message& message) override {
    ++messages;
    bytes += message.payload.size();
    if (!echoes) return;
    EXPECT_EQ(c.SendInPlace(message), SendResult::kSent);
  }
  void OnMessagePart(Connection&, const MessagePart& part) override {
    if (part.last) ++messages;
    bytes += part.payload.size();
  }
  void OnClose(Connection&, const CloseInfo&) override { connection = nullptr; }

  bool echoes = false;
  uint64_t messages = 0;
  uint64_t bytes = 0;
  Connection* connection = nullptr;
};

class TextSource : public MessageSource {
 public:
  explicit TextSource(size_t size) : left_(size) {}
  absl::StatusOr<size_t> Read(absl::Span<uint8_t> to) override {
    const size_t size = std::min({to.size(), left_, size_t{1000}});
    std::memset(to.data(), 't', size);
    left_ -= size;
    return size;
  }

 private:
  size_t left_;
};

class TrafficTest : public testing::Test {
 protected:
  void Start(bool compress, std::string target = "/") {
    Server::Options server_options;
    Client::Options client_options;
    client_options.handshake.host = "h";
    client_options.handshake.target = std::move(target);
    if (compress) {
      compression = *Deflate::Create({});
      server_options.connection.compression = compression;
      client_options.connection.compression = compression;
    }
    server = std::make_unique<Server>(server_options);
    client = *Client::Create(client_options);
    pair = std::make_unique<StreamPair>(loop.loop());
    server->Serve(pair->TakeServer(), server_end);
    client->Open(pair->TakeClient(), client_end);
    loop.RunUntilIdle();
  }
  // What went in one direction: as one end sent, the other received, and its user counted.
  static void ExpectDelivered(const Counters::Traffic& out, const Counters::Traffic& in,
                              const End& user) {
    ExpectSame(out, in);
    EXPECT_EQ(in.messages, user.messages);
    EXPECT_EQ(in.bytes, user.bytes);
  }

  std::shared_ptr<const Compression> compression;
  End server_end, client_end;
  std::unique_ptr<Server> server;
  std::unique_ptr<Client> client;
  VirtualLoop loop;
  std::unique_ptr<StreamPair> pair;
};

TEST_F(TrafficTest, BothEndsAddUpUnderMixedTraffic) {
  for (const bool compress : {false, true}) {
    SCOPED_TRACE(compress);
    server_end = End();
    client_end = End();
    server_end.echoes = true;
    pair = nullptr;
    Start(compress);
    ASSERT_NE(client_end.connection, nullptr);
    Connection& c = *client_end.connection;
    Connection& s = *server_end.connection;
    const PreparedMessage prepared = PreparedMessage::Text(Words(5000, 1), compression.get());
    uint32_t seed = 0;
    for (const size_t size : {0, 1, 125, 126, 700, 3000, 65'000, 200'000}) {
      pair->to_server().set_max_chunk(size % 7 == 0 ? 100 : 70'000);
      EXPECT_NE(c.SendText(Words(size, ++seed)), SendResult::kRefused);
      EXPECT_NE(s.SendText(Words(size / 2, ++seed)), SendResult::kRefused);
      EXPECT_NE(c.SendBinary(std::vector<uint8_t>(size / 3)), SendResult::kRefused);
      EXPECT_NE(c.Send(prepared), SendResult::kRefused);
      EXPECT_NE(s.Send(prepared), SendResult::kRefused);
      EXPECT_NE(s.SendPing(), SendResult::kRefused);
      loop.RunUntilIdle();
      EXPECT_NE(c.SendPing(), SendResult::kRefused);
      MessageWriter writer = s.StartMessage(MessageType::kText);
      EXPECT_NE(writer.Write("in "), SendResult::kRefused);
      EXPECT_NE(s.SendText("meanwhile"), SendResult::kRefused);
      EXPECT_NE(s.Send(prepared), SendResult::kRefused);
      EXPECT_NE(writer.Write("three "), SendResult::kRefused);
      EXPECT_EQ(s.SendFrom(MessageType::kText, std::make_unique<TextSource>(size)),
                SendResult::kSent);
      EXPECT_NE(writer.Finish("parts"), SendResult::kRefused);
      loop.RunUntilIdle();
      client_end.connection->ReceiveInParts(seed % 4 == 0);
    }
    const Counters& at_server = server->counters();
    const Counters& at_client = client->counters();
    ExpectDelivered(at_client.out, at_server.in, server_end);
    ExpectDelivered(at_server.out, at_client.in, client_end);
    EXPECT_EQ(server_end.messages, 3u * 8);
    EXPECT_EQ(client_end.messages, server_end.messages + 6u * 8);
    EXPECT_EQ(at_server.in.pings, 8u);
    EXPECT_EQ(at_client.in.pings, 8u);
    EXPECT_EQ(at_server.in.pongs, 8u);
    EXPECT_EQ(at_server.sends_refused + at_client.sends_refused, 0u);
    if (compress) {
      EXPECT_GE(at_server.in.compressed_messages, 8u);
      EXPECT_GE(at_server.out.compressed_messages, 16u);
      EXPECT_LT(at_server.out.CompressedRatio(), 0.6);
      EXPECT_GT(at_server.out.CompressedRatio(), 0.01);
    } else {
      EXPECT_EQ(at_server.out.compressed_messages, 0u);
      EXPECT_EQ(at_server.out.CompressedRatio(), 1);
    }
    c.Close();
    loop.RunUntilIdle();
    EXPECT_EQ(at_server.open + at_client.open, 0u);
    EXPECT_EQ(at_server.closed.at(CloseCode::kNormal).by_peer, 1u);
    EXPECT_EQ(at_client.closed.at(CloseCode::kNormal).by_us, 1u);
  }
}

TEST_F(TrafficTest, ARefusalByTheHandlerIsCountedByBoth) {
  Start(/*compress=*/false, "/nowhere");
  EXPECT_EQ(server->counters().refused, (std::map<int, uint64_t>{{404, 1}}));
  EXPECT_EQ(server->counters().refused_by_handler, 1u);
  EXPECT_EQ(client->counters().refused, (std::map<int, uint64_t>{{404, 1}}));
  EXPECT_EQ(client->counters().refused_by_handler, 0u);
  EXPECT_EQ(client->counters().handshaking, 0u);
}

TEST_F(TrafficTest, AClientCountsAnswersThatAreNone) {
  const std::vector<std::pair<std::string, int>> cases = {
      {"SSH-2.0-OpenSSH\r\n\r\n", 0},
      {"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101},
      {"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", 302},
  };
  client = *Client::Create({.connection = {}, .handshake = {.host = "h"}});
  for (const auto& [answer, status] : cases) {
    pair = std::make_unique<StreamPair>(loop.loop());
    StreamRecorder peer(pair->TakeServer());
    client->Open(pair->TakeClient(), client_end);
    peer.stream().Send(answer);
    loop.RunUntilIdle();
    EXPECT_EQ(client->counters().refused.count(status), 1u) << status;
  }
  EXPECT_EQ(RefusedInAll(client->counters()), 3u);
}

// ---- sums

TEST(CountersSumTest, HeaderExample) {
  Counters total;
  for (uint64_t i = 1; i <= 2; ++i) {
    Counters one;
    uint64_t value = 0;
    for (uint64_t* field :
         {&one.handshaking, &one.open, &one.opened, &one.timed_out, &one.broken_off,
          &one.refused_by_handler, &one.sends_refused, &one.in.messages, &one.in.bytes,
          &one.in.compressed_messages, &one.in.plain_bytes, &one.in.compressed_bytes, &one.in.pings,
          &one.in.pongs, &one.out.messages}) {
      *field = i * ++value;
    }
    one.refused = {{403, i}, {static_cast<int>(500 + i), 7}};
    one.closed[CloseCode::kNormal] = {.by_peer = i, .by_us = 10 * i};
    total += one;
  }
  uint64_t value = 0;
  for (uint64_t field :
       {total.handshaking, total.open, total.opened, total.timed_out, total.broken_off,
        total.refused_by_handler, total.sends_refused, total.in.messages, total.in.bytes,
        total.in.compressed_messages, total.in.plain_bytes, total.in.compressed_bytes,
        total.in.pings, total.in.pongs, total.out.messages}) {
    EXPECT_EQ(field, 3 * ++value);
  }
  EXPECT_EQ(total.refused, (std::map<int, uint64_t>{{403, 3}, {501, 7}, {502, 7}}));
  EXPECT_EQ(total.closed[CloseCode::kNormal].by_peer, 3u);
  EXPECT_EQ(total.closed[CloseCode::kNormal].by_us, 30u);
  EXPECT_EQ(total.in.CompressedRatio(), 12.0 / 11.0);
}

}  // namespace
}  // namespace sluice::websocket
