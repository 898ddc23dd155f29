#include "sluice/protocols/websocket/connection.h"

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/handshake.h"
#include "sluice/protocols/websocket/mask.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Writes down what happens, and does on the way what a test asks for.
class Log : public Handler {
 public:
  void OnRequest(Connection&, const HandshakeRequest& request, HandshakeReply& reply) override {
    events.push_back(absl::StrCat("request:", request.target()));
    if (on_request) on_request(request, reply);
  }
  void OnOpen(Connection& connection) override {
    current = &connection;
    events.push_back(absl::StrCat("open:", connection.subprotocol()));
    if (on_open) on_open(connection);
  }
  void OnMessage(Connection& connection, const Message& message) override {
    const std::string text(message.text());
    events.push_back(absl::StrCat(message.is_text ? "text:" : "bin:",
                                  text.size() < 40 ? text : absl::StrCat(text.size())));
    if (on_message) on_message(connection, message);
  }
  void OnSendReady(Connection&) override { events.push_back("ready"); }
  void OnClose(Connection&, const CloseInfo& info) override {
    events.push_back(absl::StrCat("close:", static_cast<int>(info.code), info.clean ? ":clean" : "",
                                  info.by_peer ? ":peer" : "", info.reason.empty() ? "" : ":",
                                  info.reason));
    status = info.status;
    EXPECT_EQ(info.status.ok(), info.clean);
    current = nullptr;
  }

  std::string all() const { return absl::StrJoin(events, " "); }

  std::function<void(const HandshakeRequest&, HandshakeReply&)> on_request;
  std::function<void(Connection&)> on_open;
  std::function<void(Connection&, const Message&)> on_message;
  std::vector<std::string> events;
  absl::Status status;
  Connection* current = nullptr;
};

std::string Frame(Opcode opcode, absl::string_view payload, bool masked, bool fin = true) {
  std::string frame(kMaxFrameHeaderBytes + payload.size(), '\0');
  auto* out = reinterpret_cast<uint8_t*>(&frame[0]);
  FrameHeader header;
  header.opcode = opcode;
  header.fin = fin;
  header.masked = masked;
  header.mask_key = 0x9a3b5c7d;
  header.payload_bytes = payload.size();
  const size_t n = EncodeFrameHeader(header, out);
  if (!payload.empty()) {
    std::memcpy(out + n, payload.data(), payload.size());
    if (masked) ApplyMask(out + n, out + n, payload.size(), header.mask_key);
  }
  frame.resize(n + payload.size());
  return frame;
}

std::string CloseOf(int code, absl::string_view reason = "") {
  return absl::StrCat(std::string({static_cast<char>(code >> 8), static_cast<char>(code)}), reason);
}

constexpr absl::string_view kRequest =
    "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

// A server's connection, and a peer that says what the test makes it say.
class ServerTest : public testing::Test {
 protected:
  void Start() {
    pair = std::make_unique<StreamPair>(loop.loop());
    peer = std::make_unique<StreamRecorder>(pair->TakeClient());
    peer->KeepOpen();
    if (server != nullptr) earlier_servers.push_back(std::move(server));
    server = std::make_unique<Server>(Server::Options{options, {}});
    server->Serve(pair->TakeServer(), log);
  }
  void StartOpen() {
    Start();
    Say(kRequest);
    ASSERT_THAT(peer->TakeReceived(), StartsWith("HTTP/1.1 101 "));
    log.events.clear();
  }
  void Say(absl::string_view bytes) {
    peer->stream().Send(bytes);
    loop.RunUntilIdle();
  }
  static std::string Client(Opcode opcode, absl::string_view payload, bool fin = true) {
    return Frame(opcode, payload, /*masked=*/true, fin);
  }
  static std::string FromServer(Opcode opcode, absl::string_view payload) {
    return Frame(opcode, payload, /*masked=*/false);
  }

  // Handlers and servers outlive the loop, which ends the connections that are left.
  ConnectionOptions options;
  Log log;
  Log other_log;
  std::unique_ptr<Server> server;
  std::vector<std::unique_ptr<Server>> earlier_servers;  // their connections may be there yet
  VirtualLoop loop;
  std::unique_ptr<StreamPair> pair;
  std::unique_ptr<StreamRecorder> peer;
};

TEST_F(ServerTest, OpensTalksAndClosesCleanly) {
  log.on_message = [](Connection& c, const Message& m) { c.SendText(m.text()); };
  Start();
  Say(kRequest);
  EXPECT_THAT(peer->TakeReceived(), HasSubstr("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
  Say(Client(Opcode::kText, "Hello"));
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kText, "Hello"));
  Say(Client(Opcode::kClose, CloseOf(1000, "bye")));
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kClose, CloseOf(1000)));
  EXPECT_TRUE(peer->ended()) << "the server closes first";
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "request:/chat open: text:Hello close:1000:clean:peer:bye");
}

TEST_F(ServerTest, EveryByteMayComeAlone) {
  log.on_message = [](Connection& c, const Message& m) { c.SendInPlace(m); };
  Start();
  pair->to_server().set_max_chunk(1);
  Say(absl::StrCat(kRequest, Client(Opcode::kText, "a"), Client(Opcode::kBinary, "bc"),
                   Client(Opcode::kPing, "p"), Client(Opcode::kClose, "")));
  EXPECT_EQ(peer->TakeReceived().substr(129),
            absl::StrCat(FromServer(Opcode::kText, "a"), FromServer(Opcode::kBinary, "bc"),
                         FromServer(Opcode::kPong, "p"), FromServer(Opcode::kClose, "")));
  EXPECT_EQ(log.all().substr(0, 33), "request:/chat open: text:a bin:bc");
}

TEST_F(ServerTest, FramesMayFollowTheRequestInOnePiece) {
  Start();
  Say(absl::StrCat(kRequest, Client(Opcode::kText, "early")));
  EXPECT_EQ(log.all(), "request:/chat open: text:early");
}

TEST_F(ServerTest, IsSmall) { EXPECT_LE(sizeof(Connection), 80u); }

// ---- the opening handshake
// -------------------------------------------------------------------------

TEST_F(ServerTest, ARefusedRequestGetsItsAnswerAndTheEnd) {
  log.on_request = [](const HandshakeRequest&, HandshakeReply& reply) {
    reply.Respond(404, "not here");
  };
  Start();
  Say(kRequest);
  EXPECT_THAT(peer->TakeReceived(), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_TRUE(peer->ended());
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "request:/chat close:1006");
  EXPECT_THAT(log.status.message(), HasSubstr("refused with status 404"));
}

TEST_F(ServerTest, AHandshakeThatTakesTooLongIsGivenUp) {
  options.handshake_timeout = absl::Seconds(3);
  Start();
  Say("GET / HTTP/1.1\r\n");
  loop.Advance(absl::Seconds(2));
  EXPECT_EQ(log.all(), "");
  loop.Advance(absl::Seconds(2));
  EXPECT_EQ(log.all(), "close:1006");
  EXPECT_TRUE(absl::IsDeadlineExceeded(log.status));
}

TEST_F(ServerTest, TheHandshakesDeadlineEndsWithIt) {
  StartOpen();
  loop.Advance(absl::Hours(10));
  EXPECT_EQ(log.all(), "");
  EXPECT_NE(log.current, nullptr);
}

TEST_F(ServerTest, AnEndWithinTheHandshakeIsTold) {
  Start();
  Say("GET /");
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "close:1006");
  EXPECT_THAT(log.status.message(), HasSubstr("during the handshake"));
}

TEST_F(ServerTest, AConnectionMayBeEndedInEachCallback) {
  for (const bool abort : {false, true}) {
    for (const bool in_open : {false, true}) {
      log = Log();
      const auto end = [abort](Connection& c) {
        if (abort) {
          c.Abort(absl::CancelledError("enough"));
        } else {
          c.Close();
        }
      };
      if (in_open) {
        log.on_open = end;
      } else {
        log.on_message = [end](Connection& c, Message) { end(c); };
      }
      Start();
      Say(absl::StrCat(kRequest, Client(Opcode::kText, "1"), Client(Opcode::kText, "2"),
                       Client(Opcode::kClose, CloseOf(1000))));
      if (!peer->closed().has_value()) peer->stream().Close();
      loop.RunUntilIdle();
      const std::string all = log.all();
      EXPECT_THAT(all, HasSubstr("close:"));
      EXPECT_EQ(all.find("close:"), all.rfind("close:")) << "exactly once: " << all;
      EXPECT_EQ(all.find("text:2"), std::string::npos) << all;
    }
  }
}

// ---- messages
// ---------------------------------------------------------------------------------------

TEST_F(ServerTest, ABurstIsEchoedInPlace) {
  log.on_message = [](Connection& c, const Message& m) {
    EXPECT_EQ(c.SendInPlace(m), SendResult::kSent);
  };
  StartOpen();
  std::string said, expected;
  for (int i = 0; i < 16; ++i) {
    const std::string payload(static_cast<size_t>(i * 60), static_cast<char>('a' + i));
    said += Client(Opcode::kBinary, payload);
    expected += FromServer(Opcode::kBinary, payload);
  }
  Say(said);
  EXPECT_EQ(peer->TakeReceived(), expected);
}

TEST_F(ServerTest, AGatheredMessageIsEchoedWithoutACopyAndMayBeSentTwice) {
  log.on_message = [](Connection& c, const Message& m) {
    EXPECT_EQ(c.SendInPlace(m), SendResult::kSent);
    EXPECT_EQ(c.SendInPlace(m), SendResult::kSent);
  };
  StartOpen();
  pair->to_server().set_max_chunk(1000);
  const std::string payload(50000, 'x');
  Say(Client(Opcode::kBinary, payload));
  EXPECT_EQ(peer->TakeReceived(), absl::StrCat(FromServer(Opcode::kBinary, payload),
                                               FromServer(Opcode::kBinary, payload)));
}

TEST_F(ServerTest, AMessageThatIsReceivedIntoItsPlaceIsEchoed) {
  log.on_message = [](Connection& c, const Message& message) { c.SendInPlace(message); };
  for (const size_t chunk : {size_t{10'000}, size_t{65'536}, size_t{1'000'000}}) {
    for (const Opcode opcode : {Opcode::kText, Opcode::kBinary}) {
      StartOpen();
      pair->to_server().set_max_chunk(chunk);
      std::string message(900'000, '\0');
      for (size_t i = 0; i < message.size(); ++i) message[i] = static_cast<char>(i * 7 % 127);
      Say(absl::StrCat(Client(opcode, message), Client(opcode, message), Client(opcode, "end")));
      EXPECT_TRUE(peer->TakeReceived() == absl::StrCat(FromServer(opcode, message),
                                                       FromServer(opcode, message),
                                                       FromServer(opcode, "end")))
          << chunk;
    }
  }
}

TEST_F(ServerTest, AConnectionMayEndWhileALongMessageIsReceivedIntoItsPlace) {
  for (const std::string how : {"bad text", "close", "abort", "reset", "peer's end"}) {
    SCOPED_TRACE(how);
    StartOpen();
    const std::string frame = Client(Opcode::kText, std::string(900'000, 't'));
    Say(frame.substr(0, 200'000));
    Say(frame.substr(200'000, 100'000));
    if (how == "bad text") Say(std::string(100'000, '\xff'));
    if (how == "close") log.current->Close();
    if (how == "abort") log.current->Abort(absl::CancelledError("enough"));
    if (how == "reset") pair->Break();
    if (how == "peer's end") peer->stream().ShutdownSend();
    if (how == "abort" || how == "reset") {
      loop.RunUntilIdle();
    } else {
      Say(frame.substr(400'000, 300'000));
    }
    loop.Advance(absl::Seconds(20));
    EXPECT_EQ(log.current, nullptr);
  }
}

TEST_F(ServerTest, MessagesOfAllSizesAreSent) {
  StartOpen();
  std::string expected;
  for (size_t size : {0, 1, 125, 126, 4000, 4091, 4092, 4093, 65535, 65536, 200000}) {
    const std::string payload(size, 'y');
    log.current->SendText(payload);
    expected += FromServer(Opcode::kText, payload);
  }
  loop.RunUntilIdle();
  EXPECT_EQ(peer->TakeReceived(), expected);
}

TEST_F(ServerTest, APreparedMessageGoesToMany) {
  StartOpen();
  StreamPair other(loop.loop());
  StreamRecorder other_peer(other.TakeClient());
  server->Serve(other.TakeServer(), other_log);
  other_peer.stream().Send(kRequest);
  loop.RunUntilIdle();
  other_peer.TakeReceived();

  const PreparedMessage message = PreparedMessage::Text("tick");
  EXPECT_EQ(log.current->Send(message), SendResult::kSent);
  EXPECT_EQ(other_log.current->Send(message), SendResult::kSent);
  loop.RunUntilIdle();
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kText, "tick"));
  EXPECT_EQ(other_peer.TakeReceived(), FromServer(Opcode::kText, "tick"));
}

TEST_F(ServerTest, ASlowReaderBlocksTheWriterAndIsToldWhenItMayGoOn) {
  StartOpen();
  pair->to_client().Hold();
  SendResult result = SendResult::kSent;
  int sent = 0;
  while (result == SendResult::kSent && sent < 1000) {
    result = log.current->SendBinary(std::vector<uint8_t>(10000));
    ++sent;
    loop.RunUntilIdle();
  }
  EXPECT_EQ(result, SendResult::kBlocked);
  EXPECT_LT(sent, 100);
  EXPECT_EQ(log.all(), "");
  pair->to_client().Release();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "ready");
}

TEST_F(ServerTest, PastTheHardLimitTheConnectionEnds) {
  StartOpen();
  log.current->stream().SetLimits({1000, 500, 5000});
  pair->to_client().set_capacity(1);
  SendResult result = SendResult::kSent;
  for (int i = 0; i < 100 && result != SendResult::kRefused; ++i) {
    result = log.current->SendBinary(std::vector<uint8_t>(900));
  }
  EXPECT_EQ(result, SendResult::kRefused);
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "close:1006");
  EXPECT_TRUE(absl::IsResourceExhausted(log.status));
}

TEST_F(ServerTest, WhatArrivedIsHeldBackWhilePaused) {
  log.on_message = [](Connection& c, Message) { c.PauseReceiving(); };
  StartOpen();
  Say(absl::StrCat(Client(Opcode::kText, "1"), Client(Opcode::kText, "2"),
                   Client(Opcode::kText, "3")));
  EXPECT_EQ(log.all(), "text:1");
  log.current->ResumeReceiving();
  EXPECT_EQ(log.all(), "text:1") << "nothing is delivered from inside a call";
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "text:1 text:2");
  log.current->ResumeReceiving();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "text:1 text:2 text:3");
}

TEST_F(ServerTest, APauseInOnOpenHoldsBackWhatFollowsTheRequest) {
  options.ping_interval = absl::Seconds(30);
  log.on_open = [](Connection& c) { c.PauseReceiving(); };
  Start();
  Say(absl::StrCat(kRequest, Client(Opcode::kText, "early")));
  EXPECT_EQ(log.all(), "request:/chat open:");
  log.current->ResumeReceiving();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "request:/chat open: text:early");
  peer->TakeReceived();
  loop.Advance(absl::Seconds(61));
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kPing, "")) << "keep-alive goes on";
}

// ---- pings
// --------------------------------------------------------------------------------------------

TEST_F(ServerTest, Section552PingsAreAnsweredWithTheirPayload) {
  StartOpen();
  Say(absl::StrCat(Client(Opcode::kPing, "1"), Client(Opcode::kText, "t")));
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kPong, "1"));
  EXPECT_EQ(log.all(), "text:t");
}

TEST_F(ServerTest, Section55APingIsCutTo125Bytes) {
  StartOpen();
  log.current->SendPing(std::vector<uint8_t>(126, 'p'));
  loop.RunUntilIdle();
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kPing, std::string(125, 'p')));
}

TEST_F(ServerTest, Section553AFloodOfPingsIsBoundedAndTheLastIsAnswered) {
  options.max_control_frames_per_second = 0;
  StartOpen();
  log.current->stream().SetLimits({2000, 1000, 100000});
  pair->to_client().set_capacity(1);
  for (int i = 0; i < 5000; ++i) {
    Say(Client(Opcode::kPing, absl::StrCat("ping ", i)));
    ASSERT_LT(log.current->stream().queued_bytes(), 3000u);
  }
  pair->to_client().set_capacity(100000);
  loop.RunUntilIdle();
  EXPECT_THAT(peer->TakeReceived(), testing::EndsWith(FromServer(Opcode::kPong, "ping 4999")));
}

TEST_F(ServerTest, Section553PongsForAPeerThatDoesNotReadQueueLittle) {
  options.max_control_frames_per_second = 0;
  StartOpen();
  pair->to_client().set_capacity(1000);
  pair->to_client().Hold();
  const std::string filler(100, '.');
  for (int i = 0; i < 2000; ++i) {
    Say(Client(Opcode::kPing, absl::StrCat(i, filler)));
    ASSERT_LE(log.current->queued_bytes(), 4096u + 2 * (2 + 125));
  }
  loop.Advance(absl::Seconds(1));
  EXPECT_LE(log.current->queued_bytes(), 4096u + 2 * (2 + 125));
  pair->to_client().Release();
  loop.RunUntilIdle();
  loop.Advance(absl::Seconds(1));
  EXPECT_LT(peer->received().size(), 6000u);
  EXPECT_THAT(peer->TakeReceived(),
              testing::EndsWith(FromServer(Opcode::kPong, absl::StrCat(1999, filler))));
  EXPECT_EQ(log.all(), "");
}

TEST_F(ServerTest, APingBehindALongMessageIsAnsweredWithoutDelay) {
  log.on_message = [](Connection& c, const Message& message) { c.SendInPlace(message); };
  StartOpen();
  const std::string message(30'000, 'm');
  Say(absl::StrCat(Client(Opcode::kBinary, message), Client(Opcode::kPing, "1"),
                   Client(Opcode::kPing, "2")));
  EXPECT_EQ(peer->TakeReceived(),
            absl::StrCat(FromServer(Opcode::kBinary, message), FromServer(Opcode::kPong, "2")));
}

TEST_F(ServerTest, KeepAliveIsContentWithASlowReaderAndEndsOneThatStops) {
  options.ping_interval = absl::Seconds(10);
  options.pong_timeout = absl::Seconds(5);
  StartOpen();
  pair->to_client().Hold();
  pair->to_client().set_capacity(1000);
  log.current->SendBinary(std::vector<uint8_t>(100'000));
  for (size_t taken = 2000; taken <= 20'000; taken += 1000) {
    pair->to_client().set_capacity(taken);
    loop.Advance(absl::Seconds(10));
    ASSERT_NE(log.current, nullptr) << log.status;
  }
  loop.Advance(absl::Seconds(10));  // it is sent a ping, which queues
  ASSERT_NE(log.current, nullptr) << log.status;
  loop.Advance(absl::Seconds(6));
  EXPECT_EQ(log.current, nullptr);
  EXPECT_EQ(log.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(log.status.message(), HasSubstr("did not answer a ping within 5s"));
}

TEST_F(ServerTest, ACloseWaitsForASlowReaderAndNotForOneThatStops) {
  options.close_timeout = absl::Seconds(5);
  StartOpen();
  pair->to_client().Hold();
  pair->to_client().set_capacity(1000);
  log.current->SendBinary(std::vector<uint8_t>(100'000));
  loop.RunUntilIdle();
  log.current->Close();
  for (size_t taken = 2000; taken <= 20'000; taken += 1000) {
    pair->to_client().set_capacity(taken);
    loop.Advance(absl::Seconds(5));
    ASSERT_EQ(log.all(), "") << log.status;
  }
  loop.Advance(absl::Seconds(6));
  EXPECT_EQ(log.all(), "close:1000");
  EXPECT_EQ(log.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(log.status.message(), HasSubstr("did not answer the close frame within 5s"));
}

TEST_F(ServerTest, ACloseWaitsNoLongerForAFullQueueThatDoesNotMove) {
  options.close_timeout = absl::Seconds(5);
  StartOpen();
  pair->to_client().Hold();
  pair->to_client().set_capacity(1000);
  log.current->SendBinary(std::vector<uint8_t>(100'000));
  loop.RunUntilIdle();
  log.current->Close();
  loop.Advance(absl::Seconds(6));
  EXPECT_EQ(log.all(), "close:1000");
}

TEST_F(ServerTest, KeepAlivePingsASilentPeerAndEndsOneThatStaysSilent) {
  options.ping_interval = absl::Seconds(30);
  options.pong_timeout = absl::Seconds(10);
  StartOpen();
  loop.Advance(absl::Seconds(61));
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kPing, ""));
  EXPECT_EQ(log.all(), "");
  loop.Advance(absl::Seconds(11));
  EXPECT_EQ(log.all(), "close:1006");
  EXPECT_TRUE(absl::IsDeadlineExceeded(log.status));
}

TEST_F(ServerTest, KeepAliveIsContentWithAnythingThatIsReceived) {
  options.ping_interval = absl::Seconds(30);
  options.pong_timeout = absl::Seconds(10);
  StartOpen();
  for (int i = 0; i < 20; ++i) {
    loop.Advance(absl::Seconds(25));
    Say(Client(Opcode::kPong, ""));
  }
  EXPECT_NE(log.current, nullptr);
  EXPECT_EQ(peer->TakeReceived(), "") << "a peer that speaks is not pinged";
}

// ---- the closing handshake
// ----------------------------------------------------------------------------

TEST_F(ServerTest, OurCloseIsAnsweredAndClean) {
  StartOpen();
  log.current->SendText("last");
  log.current->Close(CloseCode::kGoingAway, "restart");
  log.current->Close(CloseCode::kNormal, "ignored");
  EXPECT_EQ(log.current->SendText("too late"), SendResult::kRefused);
  EXPECT_FALSE(log.current->open());
  Say(Client(Opcode::kText, "not delivered"));
  EXPECT_EQ(peer->TakeReceived(),
            absl::StrCat(FromServer(Opcode::kText, "last"),
                         FromServer(Opcode::kClose, CloseOf(1001, "restart"))));
  Say(Client(Opcode::kClose, CloseOf(1001)));
  EXPECT_TRUE(peer->ended());
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "close:1001:clean:restart");
}

TEST_F(ServerTest, ACloseThatIsNotAnsweredEndsAtItsDeadline) {
  options.close_timeout = absl::Seconds(2);
  StartOpen();
  log.current->Close();
  loop.Advance(absl::Seconds(1));
  EXPECT_EQ(log.all(), "");
  loop.Advance(absl::Seconds(2));
  EXPECT_EQ(log.all(), "close:1000");
  EXPECT_TRUE(absl::IsDeadlineExceeded(log.status));
}

TEST_F(ServerTest, Section715ACloseWithoutACodeIsNoStatus) {
  StartOpen();
  Say(Client(Opcode::kClose, ""));
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kClose, ""));
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "close:1005:clean:peer");
}

TEST_F(ServerTest, CloseCodesAndReasonsAreMadeFitToSend) {
  const std::vector<std::pair<CloseCode, std::string>> cases = {
      {CloseCode::kNoStatus, ""},
      {CloseCode::kAbnormal, CloseOf(1011)},
      {static_cast<CloseCode>(999), CloseOf(1011)},
      {static_cast<CloseCode>(4321), CloseOf(4321)},
  };
  for (const auto& [code, payload] : cases) {
    StartOpen();
    log.current->Close(code);
    loop.RunUntilIdle();
    EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kClose, payload));
    pair->Break();
    loop.RunUntilIdle();
  }
  StartOpen();
  std::string reason(122, 'x');
  log.current->Close(CloseCode::kNormal, reason + "\xc3\xa9");
  loop.RunUntilIdle();
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kClose, CloseOf(1000, reason)));
}

TEST_F(ServerTest, AnEndWithoutACloseFrameIsAbnormal) {
  StartOpen();
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "close:1006");
  EXPECT_THAT(log.status.message(), HasSubstr("without a closing handshake"));
}

TEST_F(ServerTest, ABrokenStreamIsAbnormalWithItsStatus) {
  StartOpen();
  pair->Break(absl::UnavailableError("cable cut"));
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "close:1006");
  EXPECT_EQ(log.status, absl::UnavailableError("cable cut"));
}

TEST_F(ServerTest, ErrorsOfThePeerGetTheirCloseCode) {
  options.max_message_bytes = 100;
  const std::vector<std::pair<std::string, int>> cases = {
      {Frame(Opcode::kText, "bare", /*masked=*/false), 1002},
      {Client(Opcode::kText, "\xff"), 1007},
      {Client(Opcode::kBinary, std::string(101, 'x')), 1009},
      {Client(static_cast<Opcode>(3), ""), 1002},
      {Client(Opcode::kClose, CloseOf(1005)), 1002},
  };
  for (const auto& [bytes, code] : cases) {
    log.events.clear();
    StartOpen();
    Say(bytes + Client(Opcode::kText, "after"));
    const std::string received = peer->TakeReceived();
    ASSERT_GE(received.size(), 4u);
    EXPECT_EQ(received.substr(2, 2), CloseOf(code));
    EXPECT_TRUE(peer->ended());
    peer->stream().Close();
    loop.RunUntilIdle();
    EXPECT_THAT(log.all(), StartsWith(absl::StrCat("close:", code, ":")));
    EXPECT_EQ(log.events.size(), 1u);
  }
}

TEST_F(ServerTest, AMessageOverTheLimitIsToldWithPeerAndLimit) {
  options.max_message_bytes = 100;
  StartOpen();
  Say(Client(Opcode::kBinary, std::string(101, 'x')));
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_TRUE(absl::IsResourceExhausted(log.status)) << log.status;
  EXPECT_THAT(std::string(log.status.message()),
              HasSubstr(": a message is over the limit of 100 bytes (max_message_bytes)"));
}

TEST_F(ServerTest, ADrainingLoopSaysGoingAway) {
  StartOpen();
  bool drained = false;
  loop.loop().Drain(absl::Seconds(5), [&] { drained = true; });
  loop.RunUntilIdle();
  EXPECT_EQ(peer->TakeReceived(), FromServer(Opcode::kClose, CloseOf(1001)));
  Say(Client(Opcode::kClose, CloseOf(1001)));
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(log.all(), "close:1001:clean");
  EXPECT_TRUE(drained);
}

TEST_F(ServerTest, AHandlerThatWasGivenGoesWithItsConnection) {
  struct Owned : Handler {
    explicit Owned(int& its_alive) : alive(its_alive) { ++alive; }
    ~Owned() override { --alive; }
    void OnMessage(Connection&, const Message&) override {}
    int& alive;
  };
  int alive = 0;
  const Server own_server({});
  {
    VirtualLoop own_loop;
    StreamPair ended(own_loop.loop());
    StreamPair left(own_loop.loop());
    own_server.Serve(ended.TakeServer(), std::make_unique<Owned>(alive));
    own_server.Serve(left.TakeServer(), std::make_unique<Owned>(alive));
    EXPECT_EQ(alive, 2);
    ended.Break();
    own_loop.RunUntilIdle();
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0) << "the loop's end is the connection's";
}

// ---- client
// -------------------------------------------------------------------------------------------

class PairTest : public testing::Test {
 protected:
  void Start() {
    client_options.handshake.host = "example.com";
    server = std::make_unique<Server>(server_options);
    client = *Client::Create(client_options);
    pair = std::make_unique<StreamPair>(loop.loop());
    server->Serve(pair->TakeServer(), server_log);
    client->Open(pair->TakeClient(), client_log);
    loop.RunUntilIdle();
  }

  Server::Options server_options;
  Client::Options client_options;
  Log server_log, client_log;
  std::unique_ptr<Server> server;
  std::unique_ptr<Client> client;
  VirtualLoop loop;
  std::unique_ptr<StreamPair> pair;
};

TEST_F(PairTest, ClientAndServerTalkWhateverTheSize) {
  server_options.handshake.subprotocols = {"v1"};
  client_options.handshake.subprotocols = {"v2", "v1"};
  server_log.on_message = [](Connection& c, const Message& m) { c.SendInPlace(m); };
  Start();
  EXPECT_EQ(server_log.all(), "request:/ open:v1");
  EXPECT_EQ(client_log.all(), "open:v1");
  client_log.events.clear();
  for (size_t size : {0, 5, 125, 126, 5000, 65535, 65536, 1 << 20}) {
    client_log.current->SendText(std::string(size, 'z'));
    loop.RunUntilIdle();
  }
  EXPECT_EQ(
      client_log.all(),
      "text: text:zzzzz text:125 text:126 text:5000 text:65535 text:65536 ready text:1048576");
}

TEST_F(PairTest, AClientEchoesAndSendsPreparedMessagesToo) {
  client_log.on_message = [](Connection& c, const Message& m) { c.SendInPlace(m); };
  Start();
  server_log.events.clear();
  server_log.current->SendBinary(std::vector<uint8_t>(10, 'q'));
  loop.RunUntilIdle();
  client_log.current->Send(PreparedMessage::Text("x"));
  loop.RunUntilIdle();
  EXPECT_EQ(server_log.all(), "bin:qqqqqqqqqq text:x");
}

TEST_F(PairTest, EitherSideClosesCleanly) {
  for (Log* closer : {&client_log, &server_log}) {
    Start();
    closer->current->Close(CloseCode::kNormal, "done");
    loop.RunUntilIdle();
    const Log& other = closer == &client_log ? server_log : client_log;
    EXPECT_EQ(closer->events.back(), "close:1000:clean:done");
    EXPECT_EQ(other.events.back(), "close:1000:clean:peer:done");
  }
}

TEST_F(PairTest, BothMayCloseAtOnce) {
  Start();
  client_log.current->Close(CloseCode::kNormal);
  server_log.current->Close(CloseCode::kGoingAway);
  loop.RunUntilIdle();
  EXPECT_THAT(client_log.events.back(), HasSubstr(":clean"));
  EXPECT_THAT(server_log.events.back(), HasSubstr(":clean"));
}

TEST_F(PairTest, ARefusalReachesTheClientAsAStatus) {
  server_log.on_request = [](const HandshakeRequest&, HandshakeReply& reply) {
    reply.Respond(403, "");
  };
  Start();
  EXPECT_EQ(client_log.all(), "close:1006");
  EXPECT_TRUE(absl::IsPermissionDenied(client_log.status)) << client_log.status;
}

TEST_F(PairTest, ARefusalIsToldAtOnceAlsoWhenTheServerKeepsTheConnection) {
  client_options.handshake.host = "example.com";
  client = *Client::Create(client_options);
  pair = std::make_unique<StreamPair>(loop.loop());
  StreamRecorder web_server(pair->TakeServer());
  web_server.KeepOpen();
  client->Open(pair->TakeClient(), client_log);
  web_server.stream().Send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
  loop.RunUntilIdle();
  EXPECT_EQ(client_log.all(), "close:1006");
  EXPECT_TRUE(absl::IsNotFound(client_log.status)) << client_log.status;
  EXPECT_TRUE(web_server.ended() || web_server.closed().has_value());
}

TEST_F(PairTest, AClientPingsAndIsAnswered) {
  client_options.connection.ping_interval = absl::Seconds(1);
  Start();
  loop.Advance(absl::Minutes(10));
  EXPECT_NE(client_log.current, nullptr);
  EXPECT_NE(server_log.current, nullptr);
}

TEST_F(PairTest, Section41NothingIsSentBeforeTheAnswer) {
  client_options.handshake.host = "example.com";
  client = *Client::Create(client_options);
  pair = std::make_unique<StreamPair>(loop.loop());
  StreamRecorder server_peer(pair->TakeServer());
  Connection& connection = client->Open(pair->TakeClient(), client_log);
  EXPECT_EQ(connection.SendText("early"), SendResult::kRefused);
  EXPECT_EQ(connection.SendPing(), SendResult::kRefused);
  loop.RunUntilIdle();
  EXPECT_EQ(connection.SendText("early"), SendResult::kRefused);
  loop.RunUntilIdle();
  EXPECT_THAT(server_peer.received(), testing::EndsWith("\r\n\r\n"));
}

TEST_F(PairTest, Section721ALostConnectionIsAbnormalWithItsStatus) {
  Start();
  client_log.events.clear();
  pair->Break(absl::UnavailableError("cable cut"));
  loop.RunUntilIdle();
  EXPECT_EQ(client_log.all(), "close:1006");
  EXPECT_EQ(client_log.status, absl::UnavailableError("cable cut"));
}

// A client whose server says what the test makes it say.
class RawServerTest : public PairTest {
 protected:
  void StartOpen() {
    client_options.handshake.host = "example.com";
    client = *Client::Create(client_options);
    pair = std::make_unique<StreamPair>(loop.loop());
    peer = std::make_unique<StreamRecorder>(pair->TakeServer());
    peer->KeepOpen();
    client->Open(pair->TakeClient(), client_log);
    loop.RunUntilIdle();
    std::string request = peer->TakeReceived();
    request.erase(0, request.find("Key: ") + 5);
    Say(absl::StrCat("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
                     "Sec-WebSocket-Accept: ", AcceptForKey(request.substr(0, 24)), "\r\n\r\n"));
    ASSERT_NE(client_log.current, nullptr);
    client_log.events.clear();
  }
  void Say(absl::string_view bytes) {
    peer->stream().Send(bytes);
    loop.RunUntilIdle();
  }

  std::unique_ptr<StreamRecorder> peer;
};

TEST_F(RawServerTest, Section53EveryFrameHasAKeyOfItsOwn) {
  StartOpen();
  std::set<std::string> keys;
  for (int i = 0; i < 100; ++i) {
    client_log.current->SendText("same");
    client_log.current->SendPing();
    loop.RunUntilIdle();
    const std::string frames = peer->TakeReceived();
    ASSERT_EQ(frames.size(), 2 + 4 + 4 + 2 + 4u);
    EXPECT_EQ(frames.substr(0, 2), "\x81\x84");
    keys.insert(frames.substr(2, 4));
    keys.insert(frames.substr(12, 4));
  }
  EXPECT_EQ(keys.size(), 200u);
}

TEST_F(RawServerTest, Section711AClientWaitsForTheServerToEndTheConnectionButNotForEver) {
  client_options.connection.close_timeout = absl::Seconds(5);
  StartOpen();
  Say(Frame(Opcode::kClose, CloseOf(1000), /*masked=*/false));
  loop.Advance(absl::Seconds(4));
  EXPECT_FALSE(peer->ended());
  loop.Advance(absl::Seconds(2));
  EXPECT_TRUE(peer->ended());
  peer->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(client_log.all(), "close:1000:clean:peer");
}

TEST(ClientTest, OptionsThatMakeNoRequestAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Create({}).status()));
}

}  // namespace
}  // namespace sluice::websocket
