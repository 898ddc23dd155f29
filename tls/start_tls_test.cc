#include "sluice/tls/start_tls.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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
#include "sluice/core/event_loop.h"
#include "sluice/core/file_for_tests.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/tls/context.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

using ::testing::HasSubstr;

absl::string_view AsText(absl::Span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// One end of a protocol of lines that knows STARTTLS: in a callback it takes whole lines, and what
// it has received and not used it hands over.
class Session : public StreamHandler {
 public:
  using OnLine = std::function<void(Session&, absl::string_view line)>;

  Session(std::unique_ptr<Stream> stream, OnLine on_line)
      : stream_(std::move(stream)), on_line_(std::move(on_line)) {
    stream_->SetHandler(*this);
  }

  void Say(absl::string_view line) { stream_->Send(absl::StrCat(line, "\r\n")); }
  // Both to be called in on_line, as a rule. All that is still there is `received`.
  void Accept(std::shared_ptr<const ServerContext> context,
              const AcceptStartTlsOptions& options = {}) {
    const std::string received = std::exchange(text_, "");
    AcceptStartTls(std::move(stream_), AsBytes(received), std::move(context), options,
                   [this](StreamOr stream) { OnDone(std::move(stream)); });
  }
  void Connect(std::shared_ptr<const ClientContext> context, const StartTlsOptions& options = {}) {
    const std::string received = std::exchange(text_, "");
    ConnectStartTls(std::move(stream_), AsBytes(received), std::move(context), "localhost", options,
                    [this](StreamOr stream) { OnDone(std::move(stream)); });
  }

  Stream* stream() { return stream_.get(); }
  TlsStream* tls() { return tls_; }
  const absl::Status& done() const { return done_; }
  const std::vector<std::string>& lines() const { return lines_; }
  const std::optional<absl::Status>& closed() const { return closed_; }
  std::function<void()> on_done;

 private:
  void OnReceive(Stream&, absl::Span<uint8_t> bytes) override {
    absl::StrAppend(&text_, AsText(bytes));
    for (size_t end; (end = text_.find("\r\n")) != std::string::npos;) {
      const std::string line = text_.substr(0, end);
      text_.erase(0, end + 2);
      lines_.push_back(absl::StrCat(tls_ != nullptr ? "encrypted " : "", line));
      on_line_(*this, line);
    }
  }
  void OnClose(Stream&, const absl::Status& status) override { closed_ = status; }

  void OnDone(StreamOr stream) {
    done_ = stream.status();
    if (stream.ok()) {
      tls_ = stream->get();
      stream_ = *std::move(stream);
      stream_->SetHandler(*this);
    }
    if (on_done) on_done();
  }

  std::unique_ptr<Stream> stream_;
  const OnLine on_line_;
  std::string text_;
  TlsStream* tls_ = nullptr;
  absl::Status done_ = absl::UnknownError("not yet");
  std::vector<std::string> lines_;
  std::optional<absl::Status> closed_;
};

class StartTlsTest : public HandshakePair {
 protected:
  StartTlsTest() { MakeContexts(); }

  // As in SMTP. What is said under TLS is echoed.
  Session::OnLine ServerTalk(AcceptStartTlsOptions options = {}) {
    return [=, this](Session& session, absl::string_view line) {
      if (line != "STARTTLS") return session.Say(absl::StrCat("250 ", line));
      session.Say("220 go ahead");
      session.Accept(server_context_, options);
    };
  }
  Session::OnLine ClientTalk(StartTlsOptions options = {}) {
    return [=, this](Session& session, absl::string_view line) {
      if (line == "250 EHLO") session.Say("STARTTLS");
      if (absl::StartsWith(line, "220")) session.Connect(client_context_, options);
    };
  }
  void Talk() {
    at_server_.emplace(pair_->TakeServer(), ServerTalk());
    at_client_.emplace(pair_->TakeClient(), ClientTalk());
    at_client_->Say("EHLO");
    loop_.RunUntilIdle();
  }

  // A client without a protocol, that does what it likes.
  StreamRecorder& Attacker() {
    at_server_.emplace(pair_->TakeServer(), ServerTalk());
    attacker_.emplace(pair_->TakeClient());
    return *attacker_;
  }

  std::optional<Session> at_server_;
  std::optional<Session> at_client_;
  std::optional<StreamRecorder> attacker_;
};

// The way it goes.

TEST_F(StartTlsTest, AConnectionThatHasBegunInClearGoesOnEncrypted) {
  for (const size_t chunk : {1, 7, 65'536}) {
    SCOPED_TRACE(chunk);
    pair_.emplace(loop_.loop());
    pair_->to_server().set_max_chunk(chunk);
    pair_->to_client().set_max_chunk(chunk);
    Talk();
    ASSERT_TRUE(at_server_->done().ok()) << at_server_->done();
    ASSERT_TRUE(at_client_->done().ok()) << at_client_->done();
    EXPECT_EQ(at_client_->tls()->version(), Version::kTls13);
    at_client_->Say("MAIL");
    loop_.RunUntilIdle();
    EXPECT_THAT(at_server_->lines(), testing::ElementsAre("EHLO", "STARTTLS", "encrypted MAIL"));
    EXPECT_THAT(at_client_->lines(),
                testing::ElementsAre("250 EHLO", "220 go ahead", "encrypted 250 MAIL"));
    at_client_->stream()->Close();
    loop_.RunUntilIdle();
    EXPECT_EQ(at_client_->closed(), absl::OkStatus());
    EXPECT_EQ(at_server_->closed(), absl::OkStatus());
  }
}

TEST_F(StartTlsTest, MayBeCalledOutsideOfCallbacks) {
  const auto silent = [](Session&, absl::string_view) {};
  at_server_.emplace(pair_->TakeServer(), silent);
  at_client_.emplace(pair_->TakeClient(), silent);
  at_server_->Accept(server_context_);
  at_client_->Connect(client_context_);
  EXPECT_EQ(at_server_->done().code(), absl::StatusCode::kUnknown) << "never inside a call";
  loop_.RunUntilIdle();
  EXPECT_TRUE(at_server_->done().ok()) << at_server_->done();
  EXPECT_TRUE(at_client_->done().ok()) << at_client_->done();
}

// Bytes behind the command.

// The attacker, who sits in between, adds a command to the client's STARTTLS, in clear. A server
// that keeps it in its buffer would carry it out as if the client had given it under TLS.
TEST_F(StartTlsTest, CVE_2011_0411_CommandsInjectedBehindAClientsStartTlsAreRefused) {
  StreamRecorder& attacker = Attacker();
  attacker.stream().Send("EHLO\r\nSTARTTLS\r\nRCPT TO:<me>\r\n");
  loop_.RunUntilIdle();
  const absl::Status& status = at_server_->done();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(Message(status), HasSubstr("14 bytes were received in clear behind STARTTLS"));
  EXPECT_THAT(at_server_->lines(), testing::ElementsAre("EHLO", "STARTTLS"));
  EXPECT_EQ(attacker.received(), "250 EHLO\r\n220 go ahead\r\n");
  EXPECT_TRUE(attacker.ended());
  EXPECT_TRUE(attacker.closed().has_value());
}

// And an answer to the server's: a client that keeps it would take it for one to what it asks under
// TLS, for instance which ways to log in there are.
TEST_F(StartTlsTest, CVE_2011_0411_AnswersInjectedBehindAServersGoAheadAreRefused) {
  StreamRecorder attacker(pair_->TakeServer());
  at_client_.emplace(pair_->TakeClient(), ClientTalk());
  attacker.stream().Send("220 go ahead\r\n250 AUTH PLAIN\r\n");
  loop_.RunUntilIdle();
  const absl::Status& status = at_client_->done();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(Message(status), HasSubstr("16 bytes were received in clear behind STARTTLS"));
  EXPECT_THAT(at_client_->lines(), testing::ElementsAre("220 go ahead"));
  EXPECT_EQ(attacker.received(), "") << "not even a ClientHello";
  EXPECT_TRUE(attacker.closed().has_value());
}

// Where the wire cuts decides who finds them, and nothing else: at no place do they get through.
TEST_F(StartTlsTest, CVE_2011_0411_InjectedBytesGetThroughAtNoPlaceOfACut) {
  const std::string sent = "STARTTLS\r\nRCPT TO:<me>\r\n";
  for (size_t cut = 1; cut < sent.size(); ++cut) {
    SCOPED_TRACE(cut);
    pair_.emplace(loop_.loop());
    StreamRecorder& attacker = Attacker();
    attacker.stream().Send(sent.substr(0, cut));
    loop_.RunUntilIdle();
    attacker.stream().Send(sent.substr(cut));
    loop_.RunUntilIdle();
    EXPECT_EQ(at_server_->done().code(), cut == 10 ? absl::StatusCode::kInvalidArgument
                                                   : absl::StatusCode::kFailedPrecondition)
        << at_server_->done();
    EXPECT_THAT(at_server_->lines(), testing::ElementsAre("STARTTLS"));
  }
}

// A client that does not wait for an answer: its ClientHello comes with the command.
class PipelinedTest : public StartTlsTest {
 protected:
  void Talk(const AcceptStartTlsOptions& options, size_t chunk) {
    pair_.emplace(loop_.loop());
    pair_->to_server().set_max_chunk(chunk);
    at_server_.emplace(pair_->TakeServer(), [=, this](Session& session, absl::string_view line) {
      if (line == "STARTTLS") session.Accept(server_context_, options);
    });
    at_client_.emplace(pair_->TakeClient(), [](Session&, absl::string_view) {});
    at_client_->Say("STARTTLS");
    at_client_->Connect(client_context_);
    loop_.RunUntilIdle();
  }
};

TEST_F(PipelinedTest, AClientHelloBehindTheCommandIsHandedOnWhereThatIsAskedFor) {
  for (const size_t chunk : {1, 11, 100, 65'536}) {
    SCOPED_TRACE(chunk);
    Talk({.received_is_handshake = true}, chunk);
    ASSERT_TRUE(at_server_->done().ok()) << at_server_->done();
    ASSERT_TRUE(at_client_->done().ok()) << at_client_->done();
    at_client_->Say("MAIL");
    loop_.RunUntilIdle();
    EXPECT_THAT(at_server_->lines(), testing::ElementsAre("STARTTLS", "encrypted MAIL"));
  }
}

TEST_F(PipelinedTest, AClientHelloBehindTheCommandIsRefusedOtherwise) {
  Talk({}, 65'536);
  EXPECT_EQ(at_server_->done().code(), absl::StatusCode::kFailedPrecondition) << at_server_->done();
  EXPECT_FALSE(at_client_->done().ok());
}

TEST_F(PipelinedTest, WhatIsHandedOnAndIsNoHandshakeReachesNobody) {
  at_server_.emplace(pair_->TakeServer(), ServerTalk({.received_is_handshake = true}));
  attacker_.emplace(pair_->TakeClient());
  attacker_->stream().Send("STARTTLS\r\nRCPT TO:<me>\r\n");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->done().code(), absl::StatusCode::kInvalidArgument) << at_server_->done();
  EXPECT_THAT(at_server_->lines(), testing::ElementsAre("STARTTLS"));
}

// What the Stream has.

TEST_F(StartTlsTest, WhatWasSentBeforeLeavesInClearBeforeTheHandshake) {
  const std::string large(300'000, 'x');
  const test::FileForTests file(std::string(700'000, 'f'));
  at_server_.emplace(pair_->TakeServer(), [&](Session& session, absl::string_view line) {
    if (line != "STARTTLS") return;
    session.Say(large);
    EXPECT_TRUE(file.SendOn(*session.stream()).ok());
    session.Say("");
    session.Say("220 go ahead");
    session.Accept(server_context_);
  });
  at_client_.emplace(pair_->TakeClient(), ClientTalk());
  pair_->to_client().set_capacity(1'000);
  at_client_->Say("STARTTLS");
  loop_.RunUntilIdle();
  ASSERT_TRUE(at_server_->done().ok()) << at_server_->done();
  ASSERT_TRUE(at_client_->done().ok()) << at_client_->done();
  EXPECT_TRUE(at_client_->lines() ==
              std::vector<std::string>({large, std::string(700'000, 'f'), "220 go ahead"}));
}

TEST_F(StartTlsTest, APausedStreamGoesOnAndStorageIsLeftAlone) {
  std::vector<uint8_t> storage(100, 7);
  at_server_.emplace(pair_->TakeServer(), [&](Session& session, absl::string_view) {
    session.stream()->PauseReceiving();
    session.stream()->ReceiveInto(absl::MakeSpan(storage));
    session.Say("220 go ahead");
    session.Accept(server_context_);
  });
  at_client_.emplace(pair_->TakeClient(), ClientTalk());
  at_client_->Say("STARTTLS");
  loop_.RunUntilIdle();
  ASSERT_TRUE(at_server_->done().ok()) << at_server_->done();
  EXPECT_FALSE(at_server_->stream()->receiving_paused());
  EXPECT_EQ(storage, std::vector<uint8_t>(100, 7));
}

TEST_F(StartTlsTest, LimitsAndTimeoutsGoOver) {
  std::unique_ptr<Stream> stream = pair_->TakeServer();
  stream->SetLimits({.high = 1'111, .low = 222, .hard = 33'333});
  stream->SetIdleTimeout(absl::Seconds(20));
  stream->SetLingerTimeout(absl::Seconds(3));
  at_server_.emplace(std::move(stream), ServerTalk());
  at_client_.emplace(pair_->TakeClient(), ClientTalk());
  at_client_->Say("STARTTLS");
  loop_.RunUntilIdle();
  ASSERT_TRUE(at_server_->done().ok()) << at_server_->done();
  const StreamLimits limits = at_server_->stream()->limits();
  EXPECT_EQ(limits.high, 1'111u);
  EXPECT_EQ(limits.low, 222u);
  EXPECT_EQ(limits.hard, 33'333u);
  EXPECT_EQ(at_server_->stream()->linger_timeout(), absl::Seconds(3));
  loop_.Advance(absl::Seconds(19));
  EXPECT_FALSE(at_server_->closed().has_value());
  loop_.Advance(absl::Seconds(2));
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_EQ(at_server_->closed()->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(*at_server_->closed()), HasSubstr("idle for 20s"));
}

TEST_F(StartTlsTest, AHandshakeThatDoesNotComeEndsAtItsDeadline) {
  at_server_.emplace(pair_->TakeServer(), ServerTalk({.timeout = absl::Seconds(4)}));
  StreamRecorder client(pair_->TakeClient());
  client.stream().Send("STARTTLS\r\n");
  loop_.Advance(absl::Seconds(3));
  EXPECT_EQ(at_server_->done().code(), absl::StatusCode::kUnknown);
  loop_.Advance(absl::Seconds(2));
  EXPECT_EQ(at_server_->done().code(), absl::StatusCode::kDeadlineExceeded) << at_server_->done();
}

// Giving up.

TEST_F(StartTlsTest, AnUpgradeIsGivenUpWithItsGroup) {
  for (const bool at_server : {true, false}) {
    SCOPED_TRACE(at_server);
    pair_.emplace(loop_.loop());
    std::optional<HandshakeGroup> group(std::in_place);
    at_server_.emplace(pair_->TakeServer(), ServerTalk({.group = at_server ? &*group : nullptr}));
    at_client_.emplace(pair_->TakeClient(), ClientTalk({.group = at_server ? nullptr : &*group}));
    at_client_->Say("STARTTLS");
    while (group->size() == 0) loop_.loop().RunOnce(absl::ZeroDuration());
    group.reset();
    loop_.RunUntilIdle();
    Session& one = at_server ? *at_server_ : *at_client_;
    Session& other = at_server ? *at_client_ : *at_server_;
    EXPECT_EQ(one.done().code(), absl::StatusCode::kUnknown) << "its function is not called";
    const absl::Status told = other.closed().value_or(other.done());
    EXPECT_EQ(told.code(), absl::StatusCode::kUnavailable) << told;
  }
  at_server_.reset();
  at_client_.reset();
  EXPECT_EQ(loop_.loop().counters().streams, 0);
}

TEST_F(StartTlsTest, ASessionMayGoWhenItsUpgradeIsDoneOrRefused) {
  for (const bool refused : {false, true}) {
    SCOPED_TRACE(refused);
    pair_.emplace(loop_.loop());
    at_server_.emplace(pair_->TakeServer(), ServerTalk());
    at_server_->on_done = [this] { at_server_.reset(); };
    at_client_.emplace(pair_->TakeClient(), ClientTalk());
    at_client_->Say(refused ? "STARTTLS\r\nNOOP" : "STARTTLS");
    loop_.RunUntilIdle();
    EXPECT_FALSE(at_server_.has_value());
    EXPECT_TRUE(at_client_->closed().has_value() || !at_client_->done().ok());
  }
}

TEST_F(StartTlsTest, APeerThatGoesDuringTheUpgradeIsTold) {
  at_server_.emplace(pair_->TakeServer(), ServerTalk());
  StreamRecorder client(pair_->TakeClient());
  client.stream().Send("STARTTLS\r\n");
  loop_.RunUntilIdle();
  client.Destroy();
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->done().code(), absl::StatusCode::kUnavailable) << at_server_->done();
}

// Over a network that cuts, delays and loses.
TEST_F(StartTlsTest, GoesThroughOverASimulatedNetwork) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    SimulatedNetwork network(seed, {.link = {.jitter = absl::Milliseconds(3), .loss = 0.05},
                                    .host = {.short_send = 0.3, .short_receive = 0.3}});
    SimulatedHost& server = network.AddHost("server");
    SimulatedHost& client = network.AddHost("client");
    std::optional<Session> answers, asks;
    const std::unique_ptr<Listener> listener = *Listener::Listen(
        server.loop(), server.Address(25), {},
        [&](std::unique_ptr<Stream> stream) { answers.emplace(std::move(stream), ServerTalk()); });
    Connector connector(client.loop());
    connector.Connect(server.Address(25), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      asks.emplace(*std::move(stream), ClientTalk());
      asks->on_done = [&] { asks->Say("MAIL"); };
      asks->Say("EHLO");
    });
    ASSERT_TRUE(network.RunUntil(
        [&] { return asks.has_value() && (asks->lines().size() == 3 || asks->closed()); },
        absl::Minutes(5)));
    EXPECT_THAT(asks->lines(),
                testing::ElementsAre("250 EHLO", "220 go ahead", "encrypted 250 MAIL"));
    asks.reset();
    answers.reset();
  }
}

// The example of start_tls.h.
TEST_F(StartTlsTest, HeaderExample) {
  struct Silent : StreamHandler {
    void OnReceive(Stream&, absl::Span<uint8_t> bytes) override { received = AsText(bytes); }
    std::string received;
  };
  class Server : public StreamHandler {
   public:
    Server(std::unique_ptr<Stream> stream, std::shared_ptr<const ServerContext> context,
           StreamHandler& encrypted)
        : stream_(std::move(stream)), context_(std::move(context)), encrypted_(encrypted) {
      stream_->SetHandler(*this);
    }

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
      constexpr absl::string_view kCommand = "STARTTLS\r\n";
      const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      if (!absl::StartsWith(text, kCommand)) return stream.Close();
      stream.Send("220 go ahead\r\n");  // leaves in clear
      tls::AcceptStartTls(std::move(stream_), bytes.subspan(kCommand.size()), context_, {},
                          [this](absl::StatusOr<std::unique_ptr<tls::TlsStream>> upgraded) {
                            if (!upgraded.ok()) return;  // what came behind the command, perhaps
                            stream_ = *std::move(upgraded);
                            stream_->SetHandler(encrypted_);
                          });
    }

    std::unique_ptr<Stream> stream_;
    const std::shared_ptr<const ServerContext> context_;
    StreamHandler& encrypted_;
  };

  Silent encrypted;
  const Server server(pair_->TakeServer(), server_context_, encrypted);
  at_client_.emplace(pair_->TakeClient(), ClientTalk());
  at_client_->Say("STARTTLS");
  loop_.RunUntilIdle();
  at_client_->Say("MAIL");
  loop_.RunUntilIdle();
  EXPECT_EQ(encrypted.received, "MAIL\r\n");
}

}  // namespace
}  // namespace sluice::tls
