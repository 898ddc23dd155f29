// The fixture of //tls's own tests: a client and a server, joined in memory, whose options can be
// changed before their handshake.
#ifndef SLUICE_TLS_HANDSHAKE_PAIR_H_
#define SLUICE_TLS_HANDSHAKE_PAIR_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {

using StreamOr = absl::StatusOr<std::unique_ptr<TlsStream>>;

// The authority and the certificate that most tests use: made once.
inline const TestAuthority& Authority() {
  static const TestAuthority* const authority = new TestAuthority;
  return *authority;
}
inline const Identity& Localhost() {
  static const Identity* const identity = new Identity(Authority().Issue());
  return *identity;
}

class HandshakePair : public testing::Test {
 protected:
  HandshakePair() {
    server_options_.identities = {Localhost()};
    client_options_.roots = Authority().roots();
  }

  // From the options; the contexts then stay for further handshakes.
  void MakeContexts() {
    auto server = ServerContext::Create(server_options_);
    auto client = ClientContext::Create(client_options_);
    ASSERT_TRUE(server.ok()) << server.status();
    ASSERT_TRUE(client.ok()) << client.status();
    server_context_ = *server;
    client_context_ = *client;
  }

  void StartServer() {
    Accept(pair_->TakeServer(), server_context_, handshake_options_,
           [this](StreamOr stream) { server_ = std::move(stream); });
  }
  void StartClient(absl::string_view host = "localhost") {
    Connect(pair_->TakeClient(), client_context_, host, handshake_options_,
            [this](StreamOr stream) { client_ = std::move(stream); });
  }

  void StartHandshake(absl::string_view host = "localhost") {
    if (server_context_ == nullptr) MakeContexts();
    StartServer();
    StartClient(host);
  }

  void Handshake(absl::string_view host = "localhost") {
    StartHandshake(host);
    loop_.RunUntilIdle();
  }

  // A new connection between the same contexts.
  void HandshakeAgain(absl::string_view host = "localhost") {
    pair_.emplace(loop_.loop());
    Handshake(host);
  }

  // With a handler on each of the finished streams.
  void Start() {
    Handshake();
    ASSERT_TRUE(server_.ok()) << server_.status();
    ASSERT_TRUE(client_.ok()) << client_.status();
    at_server_.emplace(*std::move(server_));
    at_client_.emplace(*std::move(client_));
  }

  static std::string Message(const absl::Status& status) { return std::string(status.message()); }

  // Before the loop: handshakes and streams that are left hear of its end.
  StreamOr server_ = absl::UnknownError("no handshake yet");
  StreamOr client_ = absl::UnknownError("no handshake yet");
  std::optional<StreamRecorder> at_server_;
  std::optional<StreamRecorder> at_client_;
  VirtualLoop loop_;
  std::optional<StreamPair> pair_{std::in_place, loop_.loop()};
  ServerOptions server_options_;
  ClientOptions client_options_;
  HandshakeOptions handshake_options_;
  std::shared_ptr<const ServerContext> server_context_;
  std::shared_ptr<const ClientContext> client_context_;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_HANDSHAKE_PAIR_H_
