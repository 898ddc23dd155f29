// What goes wrong, by name, and what both sides say about it.
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Validity = TestAuthority::Validity;
using Purpose = TestAuthority::Purpose;

class FailureTest : public HandshakePair {
 protected:
  // The peer's addresses begin the messages.
  void ExpectClient(absl::StatusCode code, absl::string_view what) {
    EXPECT_EQ(client_.status().code(), code) << client_.status();
    EXPECT_THAT(Message(client_.status()), StartsWith("127.0.0.1:2: TLS handshake: "));
    EXPECT_THAT(Message(client_.status()), HasSubstr(std::string(what)));
  }
  void ExpectServer(absl::StatusCode code, absl::string_view what) {
    EXPECT_EQ(server_.status().code(), code) << server_.status();
    EXPECT_THAT(Message(server_.status()), StartsWith("127.0.0.1:1: TLS handshake: "));
    EXPECT_THAT(Message(server_.status()), HasSubstr(std::string(what)));
  }
  void ExpectBothUnauthenticated(absl::string_view client, absl::string_view alert) {
    ExpectClient(absl::StatusCode::kUnauthenticated, client);
    ExpectServer(absl::StatusCode::kUnauthenticated, alert);
  }

  // A server whose client says this.
  void ServerGets(absl::string_view bytes) {
    MakeContexts();
    StartServer();
    raw_.emplace(pair_->TakeClient());
    raw_->stream().Send(bytes);
    loop_.RunUntilIdle();
  }

  std::optional<StreamRecorder> raw_;
};

// Certificates that are not trusted.

TEST_F(FailureTest, Expired) {
  server_options_.identities = {Authority().Issue({.validity = Validity::kPast})};
  Handshake();
  ExpectBothUnauthenticated("(valid 2000-01-01 to 2001-01-01): it has expired",
                            "the peer refused: alert \"certificate expired\" (45)");
}

TEST_F(FailureTest, NotValidYet) {
  server_options_.identities = {Authority().Issue({.validity = Validity::kFuture})};
  Handshake();
  ExpectBothUnauthenticated("it is not valid yet", "certificate expired");
}

TEST_F(FailureTest, SelfSigned) {
  server_options_.identities = {TestAuthority::SelfSigned({})};
  Handshake();
  ExpectBothUnauthenticated("it is self-signed and not among those that are trusted",
                            "alert \"unknown CA\" (48)");
}

TEST_F(FailureTest, UnknownIssuer) {
  server_options_.identities = {TestAuthority("another root").Issue()};
  Handshake();
  ExpectBothUnauthenticated("of issuer \"CN=another root\"", "unknown CA");
  ExpectClient(absl::StatusCode::kUnauthenticated, "its issuer is unknown");
}

TEST_F(FailureTest, WrongHost) {
  Handshake("example.org");
  ExpectBothUnauthenticated(
      "the certificate is not for \"example.org\" but for localhost, 127.0.0.1", "bad certificate");
}

TEST_F(FailureTest, WrongAddress) {
  Handshake("127.0.0.2");
  ExpectClient(absl::StatusCode::kUnauthenticated, "is not for \"127.0.0.2\"");
}

TEST_F(FailureTest, WrongPurpose) {
  server_options_.identities = {Authority().Issue({.purpose = Purpose::kClient})};
  Handshake();
  ExpectBothUnauthenticated("it was made for another purpose", "unsupported certificate");
}

TEST_F(FailureTest, RevokedByAVerifyCallback) {
  client_options_.verify = [](absl::Span<const Certificate> chain) {
    return absl::PermissionDeniedError(chain[0].subject + " is on my list");
  };
  Handshake();
  ExpectBothUnauthenticated("certificate \"CN=leaf\" was refused: CN=leaf is on my list",
                            "bad certificate");
}

TEST_F(FailureTest, AHostThatIsNone) {
  Handshake("no host");
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kInvalidArgument);
  ExpectClient(absl::StatusCode::kInvalidArgument,
               "\"no host\" is neither a host's name nor an IP address");
}

TEST_F(FailureTest, AnAddressWithAZeroByteBehindItIsNoHost) {
  const char host[] = "127.0.0.1\0.example.org";
  Handshake(absl::string_view(host, sizeof(host) - 1));
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kInvalidArgument);
  ExpectClient(absl::StatusCode::kInvalidArgument,
               "\"127.0.0.1\\x00.example.org\" is neither a host's name nor an IP address");
}

// Nothing in common.

TEST_F(FailureTest, NoCommonVersion) {
  server_options_.min_version = Version::kTls13;
  client_options_.max_version = Version::kTls12;
  Handshake();
  ExpectServer(absl::StatusCode::kFailedPrecondition, "no TLS version in common");
  ExpectClient(absl::StatusCode::kFailedPrecondition, "alert \"protocol version\" (70)");
}

TEST_F(FailureTest, NoCommonCipher) {
  // A ClientHello of TLS 1.2 that offers TLS_RSA_WITH_AES_128_CBC_SHA.
  std::string hello = "\x03\x03" + std::string(32, 'r') + std::string("\0\0\x02\0\x2f\x01\0", 7);
  const auto size = static_cast<char>(hello.size());
  hello = std::string("\x01\0\0", 3) + size + hello;
  hello = std::string("\x16\x03\x01\0", 4) + static_cast<char>(hello.size()) + hello;
  ServerGets(hello);
  ExpectServer(absl::StatusCode::kFailedPrecondition, "no cipher suite in common");
  EXPECT_EQ(raw_->received(), std::string("\x15\x03\x03\0\x02\x02\x28", 7)) << "handshake failure";
}

TEST_F(FailureTest, NoCommonApplicationProtocol) {
  server_options_.alpn = {"h2"};
  client_options_.alpn = {"http/1.1"};
  Handshake();
  ExpectServer(absl::StatusCode::kFailedPrecondition, "no application protocol (ALPN) in common");
  ExpectClient(absl::StatusCode::kFailedPrecondition, "alert \"no application protocol\"");
}

// Peers that do not speak TLS.

TEST_F(FailureTest, PlainHttpToATlsPort) {
  ServerGets("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ExpectServer(absl::StatusCode::kInvalidArgument, "plain HTTP was sent where TLS is spoken");
  ASSERT_TRUE(raw_->closed().has_value());
}

TEST_F(FailureTest, GarbageInsteadOfAClientHello) {
  ServerGets("\x01\x02\x03\x04 this is not TLS at all");
  ExpectServer(absl::StatusCode::kInvalidArgument, "what was received is not TLS");
}

TEST_F(FailureTest, AServerThatDoesNotSpeakTls) {
  MakeContexts();
  StartClient();
  raw_.emplace(pair_->TakeServer());
  raw_->stream().Send("220 mail.example.org ESMTP\r\n");
  loop_.RunUntilIdle();
  ExpectClient(absl::StatusCode::kInvalidArgument, "what was received is not TLS");
}

TEST_F(FailureTest, ADamagedHandshake) {
  ServerGets(std::string("\x16\x03\x01\0\x04\x01\0\0\0", 9));
  ExpectServer(absl::StatusCode::kInvalidArgument, "decode error");
}

// Peers that go or stay silent.

TEST_F(FailureTest, TheConnectionEndsInTheHandshake) {
  MakeContexts();
  StartServer();
  raw_.emplace(pair_->TakeClient());
  raw_->stream().Send(std::string("\x16\x03\x01\x01\x00", 5));
  raw_->stream().Close();
  loop_.RunUntilIdle();
  ExpectServer(absl::StatusCode::kUnavailable, "the peer ended the connection");
}

TEST_F(FailureTest, ThePeerTakesItsLeaveInTheHandshake) {
  ServerGets(std::string("\x15\x03\x01\0\x02\x01\0", 7));
  ExpectServer(absl::StatusCode::kUnavailable, "the peer ended the connection");
}

TEST_F(FailureTest, TheConnectionBreaksInTheHandshake) {
  StartHandshake();
  pair_->Break();
  loop_.RunUntilIdle();
  EXPECT_EQ(server_.status(), absl::UnavailableError("TLS handshake: connection reset"));
  EXPECT_EQ(client_.status(), absl::UnavailableError("TLS handshake: connection reset"));
}

TEST_F(FailureTest, AStalledHandshake) {
  MakeContexts();
  StartServer();
  raw_.emplace(pair_->TakeClient());
  loop_.Advance(absl::Milliseconds(9900));
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnknown) << "still waiting";
  loop_.Advance(absl::Milliseconds(200));
  ExpectServer(absl::StatusCode::kDeadlineExceeded, "not finished within 10s");
}

// One byte each second does not extend the deadline.
TEST_F(FailureTest, AHandshakeThatTrickles) {
  pair_->to_server().set_max_chunk(1);
  StartHandshake();
  pair_->to_server().Hold();
  loop_.Advance(absl::Seconds(5));
  pair_->to_server().Release();
  loop_.loop().RunOnce(absl::ZeroDuration());
  pair_->to_server().Hold();
  loop_.Advance(absl::Seconds(6));
  ExpectServer(absl::StatusCode::kDeadlineExceeded, "not finished within 10s");
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kDeadlineExceeded);
}

// Established streams.

// What passes through the test's hands.
class Relay : public StreamHandler {
 public:
  Stream* to = nullptr;
  bool damage = false;

 private:
  void OnReceive(Stream&, absl::Span<uint8_t> bytes) override {
    if (damage) bytes.back() ^= 1;
    to->Send(bytes);
  }
};

class RelayTest : public FailureTest {
 protected:
  // Both streams have handlers then.
  void StartOverRelay() {
    MakeContexts();
    StartServer();
    Connect(between_.TakeClient(), client_context_, "localhost", {},
            [this](StreamOr stream) { client_ = std::move(stream); });
    static Relay up, down;  // hear of the loop's end
    near_ = between_.TakeServer();
    far_ = pair_->TakeClient();
    to_server_ = &up;
    up.damage = false;
    up.to = far_.get();
    down.to = near_.get();
    near_->SetHandler(up);
    far_->SetHandler(down);
    loop_.RunUntilIdle();
    ASSERT_TRUE(server_.ok() && client_.ok()) << server_.status() << client_.status();
    at_server_.emplace(*std::move(server_));
    at_client_.emplace(*std::move(client_));
    at_client_->stream().Send("good");
    loop_.RunUntilIdle();
    ASSERT_EQ(at_server_->received(), "good");
  }

  StreamPair between_{loop_.loop()};
  std::unique_ptr<Stream> near_, far_;
  Relay* to_server_ = nullptr;
};

TEST_F(RelayTest, ADamagedRecord) {
  StartOverRelay();
  to_server_->damage = true;
  at_client_->stream().Send("bad");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "good");
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_EQ(*at_server_->closed(),
            absl::DataLossError("127.0.0.1:1: TLS: a record was damaged on its way or forged"));
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_THAT(Message(*at_client_->closed()), HasSubstr("alert \"bad record mac\" (20)"));
}

TEST_F(RelayTest, Truncated) {
  StartOverRelay();
  far_->Close();
  loop_.RunUntilIdle();
  EXPECT_FALSE(at_server_->ended()) << "nobody has said that this is the end";
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_EQ(*at_server_->closed(),
            absl::DataLossError("127.0.0.1:1: TLS: the connection ended without a close_notify: "
                                "data may be missing"));
}

TEST_F(RelayTest, AStreamThatHasFailedMayBeUsedInVain) {
  StartOverRelay();
  to_server_->damage = true;
  at_client_->stream().Send("bad");
  loop_.RunUntilIdle();
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_EQ(at_server_->stream().peer_address().ToString(), "127.0.0.1:1");
  EXPECT_EQ(at_server_->stream().Send("late"), SendResult::kRefused);
  at_server_->stream().Close();
  at_server_->stream().PauseReceiving();
  at_server_->stream().SetIdleTimeout(absl::Seconds(1));
  loop_.RunUntilIdle();
}

}  // namespace
}  // namespace sluice::tls
