// WebSocket over TLS, as wss:// has it: the same Server and Client as over any Stream.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/server.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice {
namespace {

using StreamOr = absl::StatusOr<std::unique_ptr<tls::TlsStream>>;

class Echo : public websocket::Handler {
  void OnMessage(websocket::Connection& c, const websocket::Message& message) override {
    c.SendInPlace(message);
  }
};

class Talker : public websocket::Handler {
 public:
  std::vector<std::string> sent;
  std::vector<std::string> received;
  bool clean = false;

 private:
  void OnOpen(websocket::Connection& c) override {
    for (const std::string& text : sent) c.SendText(text);
  }
  void OnMessage(websocket::Connection& c, const websocket::Message& message) override {
    received.emplace_back(message.text());
    if (received.size() == sent.size()) c.Close();
  }
  void OnClose(websocket::Connection&, const websocket::CloseInfo& info) override {
    clean = info.clean;
  }
};

TEST(WebSocketOverTlsTest, MessagesOfAllSizesAreEchoed) {
  Echo echo;
  Talker talker;
  talker.sent = {"hello", std::string(16'000, 'a'), "", std::string(300'000, 'b')};
  websocket::Server server({});
  websocket::Client::Options options;
  options.handshake.host = "example.org";
  const auto client = *websocket::Client::Create(options);

  const tls::TestAuthority authority;
  const auto server_context = *tls::ServerContext::Create(
      {.identities = {authority.Issue({.names = {"example.org"}})}, .alpn = {"http/1.1"}});
  const auto client_context =
      *tls::ClientContext::Create({.roots = authority.roots(), .alpn = {"http/1.1"}});
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  pair.to_server().set_max_chunk(5000);
  tls::Accept(pair.TakeServer(), server_context, {},
              [&](StreamOr stream) { server.Serve(*std::move(stream), echo); });
  tls::Connect(pair.TakeClient(), client_context, "example.org", {},
               [&](StreamOr stream) { client->Open(*std::move(stream), talker); });
  loop.RunUntilIdle();
  EXPECT_EQ(talker.received, talker.sent);
  EXPECT_TRUE(talker.clean);
}

// handler.h: what is known of the one who asks.
TEST(WebSocketOverTlsTest, ARequestIsJudgedByTheFactsOfTls) {
  struct Gate : websocket::Handler {
    void OnRequest(websocket::Connection& c, const websocket::HandshakeRequest& request,
                   websocket::HandshakeReply& reply) override {
      const auto* tls = dynamic_cast<const tls::TlsStream*>(&c.stream());
      if (tls == nullptr) return reply.Respond(403, "over TLS only\n");
      if (tls->peer_certificates().empty()) return reply.Respond(403, "who are you?\n");
      facts = absl::StrCat(c.stream().peer_address().ToString(), " asks ", tls->server_name(),
                           " for ", request.path(), " by ", tls::VersionName(tls->version()));
    }
    void OnMessage(websocket::Connection&, const websocket::Message&) override {}
    std::string facts;
  };
  Gate gate;
  Talker talker;
  websocket::Server server({});
  websocket::Client::Options options;
  options.handshake.host = "example.org";
  options.handshake.target = "/vault";
  const auto client = *websocket::Client::Create(options);
  const tls::TestAuthority authority;
  const auto server_context =
      *tls::ServerContext::Create({.identities = {authority.Issue({.names = {"example.org"}})},
                                   .client_certificates = tls::ClientCertificates::kRequest,
                                   .client_roots = authority.roots()});
  VirtualLoop loop;
  for (const std::string who : {"plain", "nobody", "somebody"}) {
    SCOPED_TRACE(who);
    StreamPair pair(loop.loop());
    if (who == "plain") {
      server.Serve(pair.TakeServer(), gate);
      client->Open(pair.TakeClient(), talker);
    } else {
      tls::ClientOptions client_options = {.roots = authority.roots()};
      if (who == "somebody")
        client_options.identity = {authority.Issue({.names = {"client.example.org"}})};
      tls::Accept(pair.TakeServer(), server_context, {},
                  [&](StreamOr stream) { server.Serve(*std::move(stream), gate); });
      tls::Connect(pair.TakeClient(), *tls::ClientContext::Create(client_options), "example.org",
                   {}, [&](StreamOr stream) { client->Open(*std::move(stream), talker); });
    }
    loop.RunUntilIdle();
    EXPECT_EQ(gate.facts,
              who == "somebody" ? "127.0.0.1:1 asks example.org for /vault by TLS 1.3" : "");
    pair.Break();
    loop.RunUntilIdle();
  }
}

}  // namespace
}  // namespace sluice
