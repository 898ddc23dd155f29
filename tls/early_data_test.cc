// 0-RTT data: off, unless both sides ask for them.

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/ticket_keys.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

// Answers each piece, and knows of each byte whether it might have been a replay.
class Server final : public StreamHandler {
 public:
  void Take(StreamOr stream) {
    ASSERT_TRUE(stream.ok()) << stream.status();
    ++streams_;
    stream_ = *std::move(stream);
    early_at_start_ = stream_->may_be_replay();
    stream_->SetHandler(*this);
    stream_->WhenConfirmed([this] {
      EXPECT_FALSE(stream_->may_be_replay());
      ++confirmed_;
    });
  }

  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    const std::string text(bytes.begin(), bytes.end());
    (stream_->may_be_replay() ? early_ : late_) += text;
    if (text.size() < 100) stream.Send("echo " + text);
  }
  void OnClose(Stream&, const absl::Status& status) override { closed_ = status; }

  int streams_ = 0;
  bool early_at_start_ = false;
  int confirmed_ = 0;
  std::string early_;
  std::string late_;
  absl::Status closed_;
  std::unique_ptr<TlsStream> stream_;
};

class EarlyDataTest : public HandshakePair {
 protected:
  EarlyDataTest() {
    server_options_.ticket_keys = std::make_shared<TicketKeys>();
    server_options_.accept_replayable_early_data = true;
  }

  // A connection that begins with `data`; afterwards the client has said "later", and the server
  // whatever it says.
  std::unique_ptr<Server> Run(std::string data) {
    if (server_context_ == nullptr) MakeContexts();
    pair_.emplace(loop_.loop());
    at_client_.reset();
    auto server = std::make_unique<Server>();
    Accept(pair_->TakeServer(), server_context_, {},
           [&](StreamOr stream) { server->Take(std::move(stream)); });
    HandshakeOptions options;
    options.replayable_early_data = std::move(data);
    Connect(pair_->TakeClient(), client_context_, "localhost", options,
            [&](StreamOr stream) { client_ = std::move(stream); });
    loop_.RunUntilIdle();
    EXPECT_TRUE(client_.ok()) << client_.status();
    if (!client_.ok()) return server;
    resumed_ = (*client_)->resumed();
    EXPECT_FALSE((*client_)->may_be_replay());
    at_client_.emplace(*std::move(client_));
    at_client_->stream().Send("later");
    loop_.RunUntilIdle();
    return server;
  }

  bool resumed_ = false;
};

TEST_F(EarlyDataTest, TheFirstConnectionHasNone) {
  const auto server = Run("early");
  EXPECT_FALSE(resumed_);
  EXPECT_FALSE(server->early_at_start_);
  EXPECT_EQ(server->early_, "");
  EXPECT_EQ(server->late_, "earlylater");
  EXPECT_EQ(server->confirmed_, 1);
  EXPECT_EQ(at_client_->received(), "echo earlyecho later");
}

TEST_F(EarlyDataTest, AResumedConnectionBeginsWithThem) {
  Run("");
  for (int i = 0; i < 3; ++i) {
    const auto server = Run("early");
    EXPECT_TRUE(resumed_);
    EXPECT_TRUE(server->early_at_start_);
    EXPECT_EQ(server->early_, "early");
    EXPECT_EQ(server->late_, "later");
    EXPECT_EQ(server->confirmed_, 1);
    EXPECT_EQ(at_client_->received(), "echo earlyecho later");
  }
}

TEST_F(EarlyDataTest, AServerAcceptsNoneUnlessAskedTo) {
  server_options_.accept_replayable_early_data = false;
  Run("");
  const auto server = Run("early");
  EXPECT_TRUE(resumed_);
  EXPECT_FALSE(server->early_at_start_);
  EXPECT_EQ(server->late_, "earlylater");
}

// One that did, and whose successor does not, or has lost its keys.
TEST_F(EarlyDataTest, ThoseThatAreRefusedAreSentAgain) {
  Run("");
  server_options_.accept_replayable_early_data = false;
  server_context_ = *ServerContext::Create(server_options_);
  auto server = Run("early");
  EXPECT_TRUE(resumed_);
  EXPECT_EQ(server->early_, "");
  EXPECT_EQ(server->late_, "earlylater");

  server_options_.accept_replayable_early_data = true;
  server_context_ = *ServerContext::Create(server_options_);
  Run("");
  server_options_.ticket_keys->Rotate();
  for (int i = 0; i < 3; ++i) server_options_.ticket_keys->Rotate();
  server = Run("early");
  EXPECT_FALSE(resumed_);
  EXPECT_EQ(server->early_, "");
  EXPECT_EQ(server->late_, "earlylater");
  EXPECT_EQ(server->closed_, absl::OkStatus());
}

TEST_F(EarlyDataTest, WhatIsTooMuchFollowsTheHandshake) {
  Run("");
  const std::string data(100'000, 'd');
  const auto server = Run(data);
  EXPECT_EQ(server->early_ + server->late_, data + "later");
  EXPECT_GE(server->early_.size(), 10'000u);
  EXPECT_LE(server->early_.size(), 14'336u);
}

TEST_F(EarlyDataTest, ThoseForAnotherApplicationProtocolAreSentAgain) {
  client_options_.alpn = {"a", "b"};
  server_options_.alpn = {"a"};
  Run("");
  EXPECT_EQ(Run("early")->early_, "early");
  server_options_.alpn = {"b"};
  server_context_ = *ServerContext::Create(server_options_);
  const auto server = Run("early");
  EXPECT_EQ(server->stream_->alpn(), "b");
  EXPECT_EQ(server->early_, "");
  EXPECT_EQ(server->late_, "earlylater");
}

// What waits until the client is there.
TEST_F(EarlyDataTest, AStreamMayCloseWhenItIsConfirmed) {
  Run("");
  pair_.emplace(loop_.loop());
  Server server;
  Accept(pair_->TakeServer(), server_context_, {}, [&](StreamOr stream) {
    server.Take(std::move(stream));
    server.stream_->WhenConfirmed([&] { server.stream_.reset(); });
  });
  HandshakeOptions options;
  options.replayable_early_data = "early";
  Connect(pair_->TakeClient(), client_context_, "localhost", options,
          [&](StreamOr stream) { client_ = std::move(stream); });
  loop_.RunUntilIdle();
  EXPECT_EQ(server.early_, "early");
  EXPECT_EQ(server.stream_, nullptr);
}

TEST_F(EarlyDataTest, WithoutTicketsThereAreNone) {
  server_options_.session_tickets = false;
  server_options_.ticket_keys = nullptr;
  const auto context = ServerContext::Create(server_options_);
  EXPECT_EQ(context.status().code(), absl::StatusCode::kInvalidArgument);
}

// The risk itself: the client's first packet, a second time.
TEST_F(EarlyDataTest, AReplayIsDeliveredButNeverConfirmed) {
  Run("");
  // A client whose first packet goes to nobody.
  StreamPair recording(loop_.loop());
  StreamRecorder recorder(recording.TakeServer());
  HandshakeOptions options;
  options.replayable_early_data = "pay";
  HandshakeGroup group;
  options.group = &group;
  Connect(recording.TakeClient(), client_context_, "localhost", options, [](StreamOr) {});
  loop_.RunUntilIdle();
  const std::string packet = recorder.received();

  for (int i = 0; i < 2; ++i) {
    StreamPair pair(loop_.loop());
    Server server;
    Accept(pair.TakeServer(), server_context_, {},
           [&](StreamOr stream) { server.Take(std::move(stream)); });
    StreamRecorder attacker(pair.TakeClient());
    attacker.stream().Send(packet);
    loop_.RunUntilIdle();
    EXPECT_EQ(server.early_, "pay");
    EXPECT_TRUE(server.stream_->may_be_replay());
    EXPECT_EQ(server.confirmed_, 0);
    attacker.stream().Send(packet);
    loop_.RunUntilIdle();
    EXPECT_EQ(server.confirmed_, 0);
    EXPECT_FALSE(server.closed_.ok());
  }
}

}  // namespace
}  // namespace sluice::tls
