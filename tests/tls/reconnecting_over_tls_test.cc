// What a ReconnectingClient reports over TLS, where queued_bytes() counts the bytes of records:
// what has not left is always among it.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/reconnecting_client.h"
#include "sluice/protocols/websocket/server.h"
#include "sluice/tls/context.h"
#include "sluice/tls/dialer.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice {
namespace {

int NumberOf(absl::string_view payload) {
  int number = -1;
  EXPECT_TRUE(absl::SimpleAtoi(payload.substr(0, payload.find(' ')), &number));
  return number;
}

class AtServer : public websocket::Handler {
 public:
  std::vector<int> received;
  bool paused = true;

 private:
  void OnOpen(websocket::Connection& c) override {
    if (paused) c.PauseReceiving();
  }
  void OnMessage(websocket::Connection&, const websocket::Message& m) override {
    received.push_back(NumberOf(m.text()));
  }
};

class Log : public websocket::ReconnectHandler {
 public:
  std::vector<int> unsent;
  int connected = 0;

 private:
  void OnConnected(websocket::Connection&) override { ++connected; }
  void OnMessage(websocket::Connection&, const websocket::Message&) override {}
  void OnUnsent(std::vector<websocket::UnsentMessage> unsent_now) override {
    for (const auto& message : unsent_now) unsent.push_back(NumberOf(message.payload));
  }
  void OnEnd(const absl::Status&) override {}
};

TEST(ReconnectingOverTlsTest, WhatHasNotLeftIsReportedOrComesWithTheNextConnection) {
  for (size_t size : {1u, 50u, 1000u, 30'000u}) {
    SCOPED_TRACE(size);
    const int messages = size < 100 ? 6000 : 400;  // far more than buffers hold
    const tls::TestAuthority authority;
    const auto server_context =
        *tls::ServerContext::Create({.identities = {authority.Issue({.names = {"10.0.0.1"}})}});
    const auto client_context = *tls::ClientContext::Create({.roots = authority.roots()});
    AtServer at_server;
    Log log;
    websocket::Server server({});
    SimulatedNetwork network(1);
    SimulatedHost& server_host = network.AddHost("10.0.0.1");
    SimulatedHost& client_host = network.AddHost("10.0.0.2");
    SimulatedHostOptions small;
    small.send_buffer_bytes = small.receive_buffer_bytes = 8 * 1024;
    server_host.set_options(small);
    client_host.set_options(small);
    const auto listener = *Listener::Listen(
        server_host.loop(), server_host.Address(443), {}, [&](std::unique_ptr<Stream> stream) {
          tls::Accept(std::move(stream), server_context, {},
                      [&](absl::StatusOr<std::unique_ptr<tls::TlsStream>> encrypted) {
                        if (encrypted.ok()) server.Serve(*std::move(encrypted), at_server);
                      });
        });
    websocket::ReconnectingClient::Options options;
    options.connect.secure_dialer =
        std::make_shared<tls::Dialer>(std::make_shared<DirectDialer>(), client_context);
    options.connect.dial.stream.limits = {.high = 40'000, .low = 10'000};
    options.max_queued_bytes = 20'000'000;
    options.seed = 1;
    auto client =
        *websocket::ReconnectingClient::Create(client_host.loop(), "wss://10.0.0.1/", options, log);
    network.RunFor(absl::Seconds(1));
    ASSERT_EQ(log.connected, 1);
    for (int i = 0; i < messages; ++i) {
      ASSERT_NE(client->SendText(absl::StrCat(i, " ", std::string(size, 'x'))),
                SendResult::kRefused);
      if (i % 11 == 0) network.RunFor(absl::Milliseconds(1));
    }
    network.RunFor(absl::Seconds(1));
    network.ResetConnections(server_host, client_host);
    at_server.paused = false;
    ASSERT_TRUE(network.RunUntil([&] { return log.connected == 2; }, absl::Minutes(1)));
    network.RunFor(absl::Seconds(10));

    // Each message is at the first connection (which had buffers of 16 KiB in all, and shows
    // nothing of them), reported, or at the second: in this order, and none is missing in the
    // middle.
    std::vector<int> last = log.unsent;
    last.insert(last.end(), at_server.received.begin(), at_server.received.end());
    ASSERT_FALSE(last.empty());
    for (size_t i = 0; i < last.size(); ++i)
      ASSERT_EQ(last[i], messages - static_cast<int>(last.size() - i)) << i;
    // At most so many were taken by the first one: a frame has at least 6 bytes more than the text.
    const size_t taken = messages - last.size();
    EXPECT_LE(taken * (size + 8), 16 * 1024u + size);
  }
}

}  // namespace
}  // namespace sluice
