#include "sluice/tls/tls_stream.h"

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
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"

namespace sluice::tls {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

using StreamOr = absl::StatusOr<std::unique_ptr<TlsStream>>;

const TestAuthority& Authority() {
  static const TestAuthority* const authority = new TestAuthority;
  return *authority;
}

const Identity& Localhost() {
  static const Identity* const identity = new Identity(Authority().Issue());
  return *identity;
}

// A client and a server, joined in memory; their contexts can be changed before Handshake.
class TlsStreamTest : public testing::Test {
 protected:
  TlsStreamTest() {
    server_options_.identities = {Localhost()};
    client_options_.roots = Authority().roots();
  }

  void StartHandshake(absl::string_view host = "localhost") {
    auto server = ServerContext::Create(server_options_);
    auto client = ClientContext::Create(client_options_);
    ASSERT_TRUE(server.ok()) << server.status();
    ASSERT_TRUE(client.ok()) << client.status();
    Accept(pair_.TakeServer(), *server, {},
           [this](StreamOr stream) { server_ = std::move(stream); });
    Connect(pair_.TakeClient(), *client, host, {},
            [this](StreamOr stream) { client_ = std::move(stream); });
  }

  void Handshake(absl::string_view host = "localhost") {
    StartHandshake(host);
    loop_.RunUntilIdle();
  }

  // With a handler on each of the finished streams.
  void Start() {
    Handshake();
    ASSERT_TRUE(server_.ok()) << server_.status();
    ASSERT_TRUE(client_.ok()) << client_.status();
    at_server_.emplace(*std::move(server_));
    at_client_.emplace(*std::move(client_));
  }

  VirtualLoop loop_;
  StreamPair pair_{loop_.loop()};
  ServerOptions server_options_;
  ClientOptions client_options_;
  StreamOr server_ = absl::UnknownError("no handshake yet");
  StreamOr client_ = absl::UnknownError("no handshake yet");
  std::optional<StreamRecorder> at_server_;
  std::optional<StreamRecorder> at_client_;
};

TEST_F(TlsStreamTest, BytesGoBothWaysAndAreEncrypted) {
  Start();
  at_client_->stream().Send("a question that nobody else should read");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "a question that nobody else should read");
  at_server_->stream().Send("the answer");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->received(), "the answer");
}

TEST_F(TlsStreamTest, AHandshakeIsNeverDoneInsideACall) {
  StartHandshake();
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnknown);
  loop_.RunUntilIdle();
  EXPECT_TRUE(server_.ok()) << server_.status();
  EXPECT_TRUE(client_.ok()) << client_.status();
}

TEST_F(TlsStreamTest, TheStreamTellsWhatWasAgreedOn) {
  server_options_.alpn = {"h2", "http/1.1"};
  client_options_.alpn = {"http/1.1", "h2"};
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  TlsStream& client = **client_;
  EXPECT_EQ(client.version(), Version::kTls13);
  EXPECT_EQ(client.cipher(), (*server_)->cipher());
  EXPECT_THAT(std::string(client.cipher()), HasSubstr("TLS_"));
  EXPECT_EQ(client.group(), "X25519");
  EXPECT_EQ(client.alpn(), "h2") << "the server's preference";
  EXPECT_EQ((*server_)->alpn(), "h2");
  EXPECT_EQ((*server_)->server_name(), "localhost");
  EXPECT_FALSE(client.resumed());
  ASSERT_EQ(client.peer_certificates().size(), 1);
  EXPECT_EQ(client.peer_certificates()[0].subject, "CN=leaf");
  EXPECT_THAT((*server_)->peer_certificates(), IsEmpty());
}

TEST_F(TlsStreamTest, CloseIsSaidAndHeard) {
  Start();
  at_client_->stream().Send("last words");
  at_client_->stream().Close();
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "last words");
  EXPECT_TRUE(at_server_->ended());
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_TRUE(at_server_->closed()->ok()) << *at_server_->closed();
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_TRUE(at_client_->closed()->ok()) << *at_client_->closed();
}

TEST_F(TlsStreamTest, TheServersNameIsVerified) {
  Handshake("example.org");
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(client_.status().message()),
              HasSubstr("127.0.0.1:2: TLS handshake: the certificate is not for \"example.org\" "
                        "but for localhost, 127.0.0.1"));
  EXPECT_THAT(std::string(server_.status().message()),
              HasSubstr("127.0.0.1:1: TLS handshake: the peer refused: alert \"bad certificate\""));
}

}  // namespace
}  // namespace sluice::tls
