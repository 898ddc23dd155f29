// 0-RTT data: off, unless both sides ask for them.

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "openssl/ssl.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/bare_peer.h"
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
    if (text.size() < 100 && !(quiet_ && stream_->may_be_replay())) stream.Send("echo " + text);
  }
  void OnClose(Stream&, const absl::Status& status) override {
    is_closed_ = true;
    closed_ = status;
  }

  bool quiet_ = false;  // until it is confirmed
  int streams_ = 0;
  bool early_at_start_ = false;
  int confirmed_ = 0;
  std::string early_;
  std::string late_;
  bool is_closed_ = false;
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

// A client that is BoringSSL alone. Its early data come after its first packet: in one piece with
// the handshake's end and what follows that.
class BareEarlyDataTest : public EarlyDataTest {
 protected:
  void SetUp() override {
    MakeContexts();
    Connect();
    SendEnd();  // brings a session
    Connect();
    peer_->Encrypt(AsBytes(early_));
    early_output_ = peer_->TakeOutput();
    loop_.RunUntilIdle();
    Read();
    ASSERT_TRUE(SSL_early_data_accepted(peer_->ssl()));
    ASSERT_EQ(serving_->early_, "");
  }

  void SendEnd(absl::string_view raw = "") {
    wire_->stream().Send(absl::StrCat(early_output_, peer_->TakeOutput(), raw));
    loop_.RunUntilIdle();
    Read();
  }

  void ExpectConfirmed() {
    EXPECT_EQ(serving_->early_, "early");
    EXPECT_EQ(serving_->confirmed_, 1);
  }

  std::string early_ = "early";
  std::string received_;
  std::unique_ptr<Server> serving_;
  std::optional<BarePeer> peer_;

 private:
  void Connect() {
    pair_.emplace(loop_.loop());
    serving_ = std::make_unique<Server>();
    Accept(pair_->TakeServer(), server_context_, {},
           [this](StreamOr stream) { serving_->Take(std::move(stream)); });
    wire_.emplace(pair_->TakeClient());
    peer_.emplace(clients_.ctx(), /*server=*/false);
    SSL_set_session(peer_->ssl(), clients_.session());
    SSL_set_early_data_enabled(peer_->ssl(), 1);
    peer_->Step({});
    wire_->stream().Send(peer_->TakeOutput());
    if (clients_.session() != nullptr) return;
    loop_.RunUntilIdle();
    Read();
  }

  void Read() {
    std::string bytes = wire_->TakeReceived();
    if (SSL_in_init(peer_->ssl()) != 0) {
      peer_->Step(AsBytes(bytes));
      bytes.clear();
    }
    std::string text(1000, 0);
    text.resize(peer_->Decrypt(AsBytes(bytes), AsBytes(text)));
    received_ += text;
  }

  BareClientContext clients_;
  std::string early_output_;
  std::optional<StreamRecorder> wire_;
};

TEST_F(BareEarlyDataTest, AChangeOfKeysMayFollowTheHandshakesEnd) {
  serving_->quiet_ = true;
  SSL_key_update(peer_->ssl(), SSL_KEY_UPDATE_REQUESTED);
  std::string later = "later";
  peer_->Encrypt(AsBytes(later));
  SendEnd();
  ExpectConfirmed();
  EXPECT_EQ(serving_->late_, "later");
  EXPECT_EQ(received_, "echo later");
}

TEST_F(BareEarlyDataTest, TheEndMayFollowTheHandshakesEnd) {
  SSL_shutdown(peer_->ssl());
  SendEnd();
  ExpectConfirmed();
  EXPECT_TRUE(serving_->is_closed_);
  EXPECT_EQ(serving_->closed_, absl::OkStatus());
  EXPECT_EQ(received_, "echo early");
}

TEST_F(BareEarlyDataTest, WhatIsNoRecordMayFollowTheHandshakesEnd) {
  SendEnd("\x17\3\3\xff\xff");
  ExpectConfirmed();
  EXPECT_TRUE(serving_->is_closed_);
  EXPECT_EQ(serving_->closed_.message(), "127.0.0.1:1: TLS: encrypted length too long");
  EXPECT_EQ(received_, "echo early");
}

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
