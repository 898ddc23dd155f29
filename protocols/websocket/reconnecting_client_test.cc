#include "sluice/protocols/websocket/reconnecting_client.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Options = ReconnectingClient::Options;

// Notes what happens, the waits apart.
class Log : public ReconnectHandler {
 public:
  std::vector<std::string> events;
  std::vector<absl::Duration> waits;
  std::vector<UnsentMessage> unsent;
  std::vector<std::string> received;
  absl::Status end;
  std::function<void(absl::string_view event)> on_event = [](absl::string_view) {};

  std::string UnsentText() const {
    std::string text;
    for (const UnsentMessage& m : unsent)
      absl::StrAppend(&text, text.empty() ? "" : " ", m.payload.substr(0, 10),
                      m.may_have_left ? "?" : "");
    return text;
  }

 private:
  void Note(std::string event) {
    events.push_back(event);
    on_event(event);
  }
  void OnConnected(Connection&) override { Note("connected"); }
  void OnDisconnected(Connection&, const CloseInfo& info) override {
    Note(absl::StrCat("disconnected ", static_cast<int>(info.code)));
  }
  void OnMessage(Connection&, const Message& m) override { received.emplace_back(m.text()); }
  void OnReadyToSend() override { Note("ready"); }
  void OnUnsent(std::vector<UnsentMessage> messages) override {
    for (UnsentMessage& m : messages) unsent.push_back(std::move(m));
    Note("unsent");
  }
  void OnRetry(const absl::Status& why, absl::Duration wait) override {
    waits.push_back(wait);
    Note(absl::StrCat("retry ", absl::StatusCodeToString(why.code())));
  }
  void OnEnd(const absl::Status& why) override {
    end = why;
    Note(absl::StrCat("end ", absl::StatusCodeToString(why.code())));
  }
};

// What arrives at the server, and its connections.
class AtServer : public Handler {
 public:
  std::vector<std::string> received;
  std::vector<Connection*> open;
  int requests = 0;
  int refuse_with = 0;
  bool paused = false;

 private:
  void OnRequest(Connection&, const HandshakeRequest&, HandshakeReply& reply) override {
    ++requests;
    if (refuse_with != 0) reply.Respond(refuse_with, "no");
  }
  void OnOpen(Connection& c) override {
    open.push_back(&c);
    if (paused) c.PauseReceiving();
  }
  void OnMessage(Connection&, const Message& m) override {
    received.push_back(absl::StrCat(m.is_text ? "" : "bin:", m.text()));
  }
  void OnClose(Connection&, const CloseInfo&) override { open.clear(); }
};

class ReconnectTest : public testing::Test {
 protected:
  ReconnectTest() { options_.seed = 7; }

  void Listen() {
    listener_.reset();
    listener_ = *Listener::Listen(
        server_host_.loop(), server_host_.Address(9000), {},
        [this](std::unique_ptr<Stream> stream) { server_.Serve(std::move(stream), at_server_); });
  }
  void Create() {
    auto client =
        ReconnectingClient::Create(client_host_.loop(), "ws://10.0.0.1:9000/", options_, log_);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    EXPECT_THAT(log_.events, IsEmpty());
  }
  void Start() {
    Listen();
    Create();
    Run();
    ASSERT_THAT(log_.events, ElementsAre("connected"));
    log_.events.clear();
  }
  void Run(absl::Duration time = absl::Milliseconds(5)) { network_.RunFor(time); }
  void Break() { network_.ResetConnections(server_host_, client_host_); }
  // One that is still to come.
  bool RunUntilEvent(absl::string_view event) {
    const size_t before = log_.events.size();
    return network_.RunUntil(
        [&] { return log_.events.size() > before && log_.events.back() == event; }, absl::Hours(2));
  }
  // Nothing passes to the server any more once it has so many bytes.
  void LetServerStall() {
    SimulatedHostOptions small;
    small.send_buffer_bytes = 8 * 1024;
    small.receive_buffer_bytes = 8 * 1024;
    server_host_.set_options(small);
    client_host_.set_options(small);
    at_server_.paused = true;
  }

  AtServer at_server_;  // before the network
  Log log_;
  Server server_{{}};
  Options options_;
  SimulatedNetwork network_{1};
  SimulatedHost& server_host_ = network_.AddHost("10.0.0.1");
  SimulatedHost& client_host_ = network_.AddHost("10.0.0.2");
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<ReconnectingClient> client_;
};

TEST_F(ReconnectTest, HeaderExample) {
  EventLoop& loop = client_host_.loop();
  std::vector<std::string> shown;
  const auto Show = [&](absl::string_view text) { shown.emplace_back(text); };
  const auto Keep = [](const std::vector<UnsentMessage>&) {};
  const auto Complain = [](const absl::Status&) {};
  class Chat : public websocket::ReconnectHandler {
   public:
    Chat(std::function<void(absl::string_view)> show,
         std::function<void(const std::vector<UnsentMessage>&)> keep,
         std::function<void(const absl::Status&)> complain)
        : Show(std::move(show)), Keep(std::move(keep)), Complain(std::move(complain)) {}
    std::function<void(absl::string_view)> Show;
    std::function<void(const std::vector<UnsentMessage>&)> Keep;
    std::function<void(const absl::Status&)> Complain;

    void OnMessage(websocket::Connection&, const websocket::Message& m) override { Show(m.text()); }
    void OnUnsent(std::vector<websocket::UnsentMessage> messages) override { Keep(messages); }
    void OnEnd(const absl::Status& why) override { Complain(why); }
  };
  Chat chat(Show, Keep, Complain);
  const auto example = [&]() -> absl::Status {
    auto client = websocket::ReconnectingClient::Create(loop, "ws://10.0.0.1:9000/", {}, chat);
    if (!client.ok()) return client.status();
    (*client)->SendText("hello");
    return absl::OkStatus();
  };
  EXPECT_EQ(example(), absl::OkStatus());
}

TEST_F(ReconnectTest, OptionsThatMakeNoSenseAreRefused) {
  const auto create = [this](absl::string_view url) {
    return ReconnectingClient::Create(client_host_.loop(), url, options_, log_).status();
  };
  EXPECT_EQ(create("http://x/").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create("wss://x/").code(), absl::StatusCode::kInvalidArgument);
  options_.factor = 0.5;
  EXPECT_THAT(std::string(create("ws://x/").message()), HasSubstr("factor"));
  options_ = {};
  options_.first_wait = absl::ZeroDuration();
  EXPECT_THAT(std::string(create("ws://x/").message()), HasSubstr("waits"));
  options_ = {};
  options_.max_wait = absl::InfiniteDuration();
  EXPECT_THAT(std::string(create("ws://x/").message()), HasSubstr("waits"));
  options_ = {};
  options_.max_attempts = -1;
  EXPECT_THAT(std::string(create("ws://x/").message()), HasSubstr("max_attempts"));
}

TEST_F(ReconnectTest, MessagesGoBothWays) {
  Start();
  EXPECT_EQ(client_->SendText("a"), SendResult::kSent);
  EXPECT_EQ(client_->SendBinary(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>("b"), 1)),
            SendResult::kSent);
  Run();
  EXPECT_THAT(at_server_.received, ElementsAre("a", "bin:b"));
  at_server_.open[0]->SendText("c");
  Run();
  EXPECT_THAT(log_.received, ElementsAre("c"));
  EXPECT_NE(client_->connection(), nullptr);
}

TEST_F(ReconnectTest, WhatIsSentBeforeThereIsAConnectionWaitsForIt) {
  Listen();
  Create();
  EXPECT_EQ(client_->connection(), nullptr);
  EXPECT_EQ(client_->SendText("one"), SendResult::kBlocked);
  EXPECT_EQ(client_->SendText("two"), SendResult::kBlocked);
  log_.on_event = [this](absl::string_view event) {
    if (event != "connected") return;
    client_->connection()->SendText("login");  // precedes what waits
    client_->SendText("three");                // does not
  };
  Run();
  EXPECT_THAT(at_server_.received, ElementsAre("login", "one", "two", "three"));
  EXPECT_THAT(log_.events, ElementsAre("connected", "ready"));
  EXPECT_THAT(log_.unsent, IsEmpty());
}

TEST_F(ReconnectTest, ABrokenConnectionIsMadeAgainAndWhatWaitsIsSent) {
  Start();
  Break();
  Run(absl::Milliseconds(1));
  EXPECT_THAT(log_.events, ElementsAre("disconnected 1006", "retry UNAVAILABLE"));
  EXPECT_EQ(client_->SendText("later"), SendResult::kBlocked);
  ASSERT_TRUE(RunUntilEvent("ready"));
  Run();
  EXPECT_THAT(at_server_.received, ElementsAre("later"));
  EXPECT_THAT(log_.unsent, IsEmpty());
}

TEST_F(ReconnectTest, WaitsAreDrawnUpToALimitThatDoublesAndAreKeptExactly) {
  options_.first_wait = absl::Seconds(1);
  options_.max_wait = absl::Seconds(10);
  options_.max_attempts = 9;
  const std::vector<absl::Duration> limits = {
      absl::Seconds(1),  absl::Seconds(2),  absl::Seconds(4),  absl::Seconds(8),
      absl::Seconds(10), absl::Seconds(10), absl::Seconds(10), absl::Seconds(10)};
  std::vector<MonotonicTime> retries;
  std::vector<MonotonicTime> attempts;
  // Notes when it is dialed, and fails at once.
  class NotingDialer : public Dialer {
   public:
    NotingDialer(SimulatedNetwork& network, std::vector<MonotonicTime>& times)
        : network_(network), times_(times) {}
    std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint&, const DialOptions&,
                                  DialFunction done) const override {
      times_.push_back(network_.now());
      return Fail(loop, absl::UnavailableError("not today"), std::move(done));
    }

   private:
    SimulatedNetwork& network_;
    std::vector<MonotonicTime>& times_;
  };
  options_.connect.dialer = std::make_shared<NotingDialer>(network_, attempts);
  log_.on_event = [&](absl::string_view event) {
    if (event == "retry UNAVAILABLE") retries.push_back(network_.now());
  };
  double spread = 0;
  std::vector<absl::Duration> first_run;
  for (int seed = 0; seed < 50; ++seed) {
    options_.seed = seed % 49;  // the last run has the first one's
    log_.waits.clear();
    log_.events.clear();
    attempts.clear();
    retries.clear();
    Create();
    ASSERT_TRUE(RunUntilEvent("end UNAVAILABLE"));
    EXPECT_THAT(std::string(log_.end.message()), HasSubstr("given up after 9 attempts"));
    ASSERT_EQ(log_.waits.size(), limits.size());
    ASSERT_EQ(attempts.size(), 9u);
    for (size_t i = 0; i < limits.size(); ++i) {
      EXPECT_GE(log_.waits[i], absl::ZeroDuration());
      EXPECT_LT(log_.waits[i], limits[i]);
      spread += absl::FDivDuration(log_.waits[i], limits[i]);
      const absl::Duration waited = attempts[i + 1] - retries[i];
      EXPECT_GE(waited, log_.waits[i]);
      EXPECT_LE(waited, log_.waits[i] + TimerWheel::kResolution + absl::Microseconds(10));
    }
    if (seed == 0) first_run = log_.waits;
    if (seed == 1) {
      EXPECT_NE(log_.waits, first_run);
    }
    if (seed == 49) {
      EXPECT_EQ(log_.waits, first_run);
    }
  }
  // Evenly from nothing to the limit: 400 draws.
  EXPECT_NEAR(spread / 400, 0.5, 0.05);
}

TEST_F(ReconnectTest, AConnectionThatWasOpenForLongMakesTheWaitsShortAgain) {
  options_.first_wait = absl::Milliseconds(1);
  options_.factor = 1000;
  options_.max_wait = absl::Hours(1);
  options_.steady_after = absl::Seconds(10);
  Start();
  const auto break_after = [this](absl::Duration time) {
    Run(time);
    Break();
    EXPECT_TRUE(RunUntilEvent("connected"));
    return log_.waits.back();
  };
  EXPECT_LT(break_after(absl::Seconds(1)), absl::Milliseconds(1));
  break_after(absl::Seconds(1));
  // The third in a row may be of up to 1000 s, and is drawn from there.
  EXPECT_GT(break_after(absl::Seconds(1)), absl::Seconds(1));
  EXPECT_LT(break_after(absl::Seconds(11)), absl::Milliseconds(1));
}

TEST_F(ReconnectTest, SomeFailuresAreFinal) {
  Listen();
  at_server_.refuse_with = 403;
  Create();
  EXPECT_EQ(client_->SendText("never"), SendResult::kBlocked);
  Run(absl::Seconds(1));
  EXPECT_THAT(log_.events, ElementsAre("unsent", "end PERMISSION_DENIED"));
  EXPECT_EQ(log_.UnsentText(), "never");
  EXPECT_EQ(client_->SendText("no"), SendResult::kRefused);
  Run(absl::Minutes(5));
  EXPECT_EQ(at_server_.requests, 1);
}

TEST_F(ReconnectTest, SomeRefusalsAreNotFinal) {
  Listen();
  at_server_.refuse_with = 503;
  Create();
  ASSERT_TRUE(RunUntilEvent("retry UNAVAILABLE"));
  at_server_.refuse_with = 0;
  EXPECT_TRUE(RunUntilEvent("connected"));
}

TEST_F(ReconnectTest, ThePolicyMayBeAnother) {
  options_.may_retry = [](const absl::Status& why) { return absl::IsPermissionDenied(why); };
  options_.may_reconnect = [](const CloseInfo& info) { return info.code == CloseCode::kNormal; };
  Listen();
  at_server_.refuse_with = 403;
  Create();
  ASSERT_TRUE(RunUntilEvent("retry PERMISSION_DENIED"));
  at_server_.refuse_with = 0;
  ASSERT_TRUE(RunUntilEvent("connected"));
  at_server_.open[0]->Close(CloseCode::kNormal);
  ASSERT_TRUE(RunUntilEvent("connected"));
  at_server_.open[0]->Close(CloseCode::kServiceRestart);
  ASSERT_TRUE(RunUntilEvent("end UNAVAILABLE"));
}

TEST_F(ReconnectTest, ThePeersCloseCodeDecides) {
  const struct {
    CloseCode code;
    const char* last;
  } cases[] = {
      {CloseCode::kNormal, "end OK"},
      {CloseCode::kGoingAway, "retry UNAVAILABLE"},
      {CloseCode::kPolicyViolation, "end FAILED_PRECONDITION"},
      {CloseCode::kProtocolError, "end FAILED_PRECONDITION"},
      {CloseCode::kInternalError, "retry UNAVAILABLE"},
      {CloseCode::kServiceRestart, "retry UNAVAILABLE"},
      {static_cast<CloseCode>(4000), "retry UNAVAILABLE"},
  };
  for (const auto& c : cases) {
    log_.events.clear();
    Start();
    at_server_.open[0]->Close(c.code, "why");
    Run(absl::Milliseconds(2));
    EXPECT_THAT(log_.events,
                ElementsAre(absl::StrCat("disconnected ", static_cast<int>(c.code)), c.last));
    client_.reset();
    Run();
  }
}

TEST_F(ReconnectTest, CloseIsTheEnd) {
  Start();
  client_->SendText("last words");
  client_->Close(CloseCode::kGoingAway, "bye");
  EXPECT_EQ(client_->SendText("no"), SendResult::kRefused);
  client_->Close();
  Run(absl::Minutes(5));
  EXPECT_THAT(log_.events, ElementsAre("disconnected 1001", "end OK"));
  EXPECT_THAT(at_server_.received, ElementsAre("last words"));
  EXPECT_EQ(at_server_.requests, 1);
}

TEST_F(ReconnectTest, CloseWithoutAConnectionIsTheEndToo) {
  Listen();
  Create();
  client_->SendText("waits");
  client_->Close();
  EXPECT_THAT(log_.events, IsEmpty());  // later
  Run(absl::Minutes(5));
  EXPECT_THAT(log_.events, ElementsAre("unsent", "end OK"));
  EXPECT_EQ(log_.UnsentText(), "waits");
  EXPECT_EQ(at_server_.requests, 0);
}

TEST_F(ReconnectTest, CloseWhileWaitingIsTheEndToo) {
  Start();
  Break();
  Run(absl::Milliseconds(1));
  client_->Close();
  Run(absl::Minutes(5));
  EXPECT_THAT(log_.events, ElementsAre("disconnected 1006", "retry UNAVAILABLE", "end OK"));
  EXPECT_EQ(at_server_.requests, 1);
}

TEST_F(ReconnectTest, ADrainIsTheEnd) {
  Start();
  client_host_.loop().Drain(absl::Seconds(1), [] {});
  Run(absl::Minutes(5));
  EXPECT_THAT(log_.events, ElementsAre("disconnected 1001", "end OK"));
}

TEST_F(ReconnectTest, WhatWaitsIsBounded) {
  options_.max_queued_bytes = 1000;
  Create();
  EXPECT_EQ(client_->SendText(std::string(400, 'a')), SendResult::kBlocked);
  EXPECT_EQ(client_->SendText(std::string(400, 'b')), SendResult::kBlocked);
  EXPECT_EQ(client_->SendText("ccccccccc"), SendResult::kRefused);
  Listen();
  Run(absl::Minutes(1));
  EXPECT_THAT(at_server_.received, ElementsAre(std::string(400, 'a'), std::string(400, 'b')));
  EXPECT_EQ(client_->SendText("c"), SendResult::kSent);
}

// What is with the client stays for the next connection; what was given to the one that broke is
// reported, but for what the transport had taken.
TEST_F(ReconnectTest, WhenAConnectionBreaksEachMessageIsTakenKeptOrReported) {
  LetServerStall();
  options_.connect.dial.stream.limits = {.high = 16 * 1024, .low = 4 * 1024};
  Start();
  // 100 messages of 1,000 bytes, each of which has its number in front.
  int sent = 0;
  for (; sent < 100; ++sent) {
    const std::string text = absl::StrCat(1000 + sent, std::string(996, 'x'));
    ASSERT_NE(client_->SendText(text), SendResult::kRefused);
    if (sent % 7 == 0) Run(absl::Milliseconds(1));
  }
  Run();
  const size_t queued = client_->connection()->queued_bytes();
  ASSERT_GT(queued, 4 * 1024u);
  Break();
  Run(absl::Milliseconds(1));
  EXPECT_THAT(log_.events, ElementsAre("disconnected 1006", "unsent", "retry UNAVAILABLE"));
  // Exactly those of which the transport had not taken all: 1,008 bytes each on the wire.
  const size_t reported = (queued + 1007) / 1008;
  ASSERT_EQ(log_.unsent.size(), reported);
  const int first = std::stoi(log_.unsent.front().payload.substr(0, 4));
  for (size_t i = 0; i < reported; ++i) {
    EXPECT_EQ(log_.unsent[i].payload,
              absl::StrCat(first + static_cast<int>(i), std::string(996, 'x')));
    EXPECT_TRUE(log_.unsent[i].may_have_left);
    EXPECT_TRUE(log_.unsent[i].is_text);
  }
  // The rest comes with the next connection.
  at_server_.paused = false;
  at_server_.received.clear();
  ASSERT_TRUE(RunUntilEvent("ready"));
  Run(absl::Seconds(1));
  std::vector<std::string> rest;
  for (int i = first + static_cast<int>(reported); i < 1100; ++i)
    rest.push_back(absl::StrCat(i, std::string(996, 'x')));
  ASSERT_FALSE(rest.empty());
  EXPECT_EQ(at_server_.received, rest);
}

TEST_F(ReconnectTest, WhatTheTransportTookIsNotReported) {
  Start();
  for (int i = 0; i < 50; ++i) {
    client_->SendText(std::string(100 * i, 'x'));
    if (i % 5 == 0) Run(absl::Milliseconds(1));
  }
  Run();
  Break();
  Run(absl::Milliseconds(1));
  EXPECT_THAT(log_.unsent, IsEmpty());
  EXPECT_EQ(at_server_.received.size(), 50u);
}

TEST_F(ReconnectTest, WithCompressionMoreMayBeReportedButNeverLess) {
  const auto deflate = Deflate::Create({});
  ASSERT_TRUE(deflate.ok()) << deflate.status();
  LetServerStall();
  options_.connect.client.connection.compression = *deflate;
  options_.connect.dial.stream.limits = {.high = 16 * 1024, .low = 4 * 1024};
  Server::Options server_options;
  server_options.connection.compression = *deflate;
  Server server(server_options);
  listener_ = *Listener::Listen(
      server_host_.loop(), server_host_.Address(9000), {},
      [&](std::unique_ptr<Stream> stream) { server.Serve(std::move(stream), at_server_); });
  Create();
  Run();
  ASSERT_TRUE(client_->connection()->compresses());
  int sent = 0;
  while (client_->SendText(absl::StrCat(1000 + sent, std::string(1996, 'x'))) !=
         SendResult::kRefused) {
    ++sent;
    Run(absl::Milliseconds(1));
    ASSERT_LT(sent, 20'000);
  }
  Break();
  Run(absl::Milliseconds(1));
  client_->Close();
  Run(absl::Seconds(1));
  // The server has read nothing; what it and the client's system had buffered was at most 16 KiB
  // of frames, none of which is under 20 bytes.
  EXPECT_GE(log_.unsent.size(), static_cast<size_t>(sent) - 16 * 1024 / 20);
  EXPECT_EQ(log_.unsent.back().payload.substr(0, 4).size(), 4u);
  EXPECT_THAT(log_.unsent.back().payload, StartsWith(absl::StrCat(1000 + sent - 1)));
  for (size_t i = 1; i < log_.unsent.size(); ++i)
    EXPECT_FALSE(log_.unsent[i].may_have_left && !log_.unsent[i - 1].may_have_left);
  listener_.reset();
}

TEST_F(ReconnectTest, CompressedMessagesAllArriveWhenThePeerReadsAgain) {
  const auto deflate = Deflate::Create({});
  LetServerStall();
  options_.connect.client.connection.compression = *deflate;
  Server::Options server_options;
  server_options.connection.compression = *deflate;
  Server server(server_options);
  listener_ = *Listener::Listen(
      server_host_.loop(), server_host_.Address(9000), {},
      [&](std::unique_ptr<Stream> stream) { server.Serve(std::move(stream), at_server_); });
  Create();
  Run();
  size_t sent = 0;
  while (client_->SendText(absl::StrCat(sent, std::string(2000, 'x'))) != SendResult::kRefused)
    ++sent;
  log_.events.clear();
  at_server_.open[0]->ResumeReceiving();
  ASSERT_TRUE(RunUntilEvent("ready"));
  Run(absl::Seconds(1));
  EXPECT_EQ(at_server_.received.size(), sent);
  client_.reset();
  Run();
  listener_.reset();
}

TEST_F(ReconnectTest, AMessageThatWouldPassTheHardLimitWaits) {
  LetServerStall();
  options_.connect.dial.stream.limits = {.high = 30'000, .low = 1000, .hard = 40'000};
  Start();
  EXPECT_EQ(client_->SendText(std::string(25'000, 'a')), SendResult::kSent);
  EXPECT_EQ(client_->SendText(std::string(35'000, 'b')), SendResult::kBlocked);
  Run(absl::Seconds(1));
  EXPECT_THAT(log_.events, IsEmpty());  // the connection lives
  at_server_.open[0]->ResumeReceiving();
  ASSERT_TRUE(RunUntilEvent("ready"));
  Run(absl::Seconds(1));
  EXPECT_EQ(at_server_.received.size(), 2u);
}

// In each of its callbacks.
TEST_F(ReconnectTest, TheClientMayGoAtAnyTime) {
  for (const char* when :
       {"", "connected", "disconnected 1006", "unsent", "retry UNAVAILABLE", "ready", "end OK"}) {
    SCOPED_TRACE(when);
    log_.events.clear();
    at_server_.paused = false;
    log_.on_event = [](absl::string_view) {};
    if (when == absl::string_view("")) {
      Listen();
      Create();
      client_.reset();
      Run(absl::Minutes(1));
      EXPECT_THAT(log_.events, IsEmpty());
      continue;
    }
    LetServerStall();
    Listen();
    Create();
    client_->SendText(std::string(100'000, 'x'));
    log_.on_event = [&](absl::string_view event) {
      if (event == when) client_.reset();
    };
    Run();
    if (client_ != nullptr) Break();
    if (when == absl::string_view("end OK")) {
      Run();
      client_->Close();
    }
    Run(absl::Minutes(1));
    EXPECT_EQ(client_, nullptr);
    EXPECT_EQ(log_.events.back(), when);
    EXPECT_EQ(network_.connections(), 0u);
  }
}

TEST_F(ReconnectTest, TheClientMayGoAtAnyMoment) {
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(10)});
  Listen();
  for (int step = 0; step < 40; ++step) {
    Create();
    client_->SendText("x");
    Run(absl::Milliseconds(2 * step));
    log_.events.clear();
    client_.reset();
    Run(absl::Seconds(1));
    EXPECT_THAT(log_.events, IsEmpty());
    EXPECT_EQ(network_.connections(), 0u);
  }
}

TEST_F(ReconnectTest, TheClientMayGoInOnEndWithTheCompressionThatItAloneHas) {
  AtServer at;
  Server server({.connection = {.compression = *Deflate::Create({})}, .handshake = {}});
  auto listener = *Listener::Listen(
      server_host_.loop(), server_host_.Address(9000), {},
      [&](std::unique_ptr<Stream> stream) { server.Serve(std::move(stream), at); });
  options_.connect.client.connection.compression = *Deflate::Create({});
  Create();
  options_.connect.client.connection.compression = nullptr;
  Run();
  ASSERT_NE(client_->connection(), nullptr);
  EXPECT_TRUE(client_->connection()->compresses());
  log_.on_event = [this](absl::string_view event) {
    if (absl::StartsWith(event, "end")) client_ = nullptr;
  };
  client_->Close();
  Run(absl::Seconds(20));
  EXPECT_EQ(client_, nullptr);
}

TEST_F(ReconnectTest, WhatWaitsBehindAMessageInPartsIsReported) {
  Start();
  MessageWriter writer = client_->connection()->StartMessage(MessageType::kText);
  writer.Write("part");
  Run();
  EXPECT_NE(client_->SendText("behind"), SendResult::kRefused);
  Run(absl::Seconds(1));
  EXPECT_THAT(at_server_.received, IsEmpty());
  Break();
  RunUntilEvent("connected");
  Run(absl::Seconds(1));
  EXPECT_THAT(at_server_.received, IsEmpty());
  EXPECT_EQ(log_.UnsentText(), "behind?");
}

TEST_F(ReconnectTest, ADrainInTheHandshakeIsTheEnd) {
  std::vector<std::unique_ptr<Stream>> silent;
  auto listener = *Listener::Listen(
      server_host_.loop(), server_host_.Address(9000), {},
      [&](std::unique_ptr<Stream> stream) { silent.push_back(std::move(stream)); });
  Create();
  Run();
  bool drained = false;
  client_host_.loop().Drain(absl::Seconds(30), [&] { drained = true; });
  Run(absl::Seconds(20));
  EXPECT_THAT(log_.events, ElementsAre("end CANCELLED"));
  EXPECT_TRUE(drained);
  EXPECT_EQ(silent.size(), 1u);
}

TEST_F(ReconnectTest, WhatDoesNotFitAtOnceIsGivenLater) {
  options_.connect.dial.stream.limits = {.high = 64 << 10, .low = 16 << 10, .hard = 64 << 10};
  Listen();
  Create();
  client_->SendText(std::string(40000, 'w'));
  log_.on_event = [this](absl::string_view event) {
    if (event == "connected") client_->connection()->SendText(std::string(50000, 'd'));
  };
  Run(absl::Seconds(10));
  EXPECT_EQ(at_server_.received.size(), 2u);
}

TEST_F(ReconnectTest, CloseDoesNotPassTheHardLimit) {
  options_.connect.dial.stream.limits = {.high = 64 << 10, .low = 16 << 10, .hard = 64 << 10};
  LetServerStall();
  Start();
  for (int i = 0; i < 8; ++i) client_->SendText(std::string(30000, static_cast<char>('a' + i)));
  Run();
  client_->Close();
  for (Connection* c : at_server_.open) c->ResumeReceiving();
  Run(absl::Seconds(60));
  EXPECT_EQ(log_.end, absl::OkStatus());
  EXPECT_GT(at_server_.received.size(), 0u);
}

TEST_F(ReconnectTest, AServerThatEndsItsHalfInTheHandshakeIsNotWaitedFor) {
  LetServerStall();
  std::vector<std::unique_ptr<Stream>> silent;
  class Deaf : public StreamHandler {
    void OnReceive(Stream&, absl::Span<uint8_t>) override {}
  } deaf;
  auto listener = *Listener::Listen(server_host_.loop(), server_host_.Address(9000), {},
                                    [&](std::unique_ptr<Stream> stream) {
                                      stream->SetHandler(deaf);
                                      stream->PauseReceiving();
                                      stream->ShutdownSend();
                                      silent.push_back(std::move(stream));
                                    });
  options_.connect.dial.timeout = absl::Seconds(1);
  options_.connect.client.handshake.headers = {{"X-A", std::string(60000, 'a')}};
  Create();
  Run(absl::Seconds(0.1));
  ASSERT_FALSE(log_.events.empty());
  EXPECT_THAT(log_.events[0], HasSubstr("retry"));
}

}  // namespace
}  // namespace sluice::websocket
