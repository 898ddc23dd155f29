// Handshakes that are cut off anywhere, and TLS over a simulated network.
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/tls/context.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

class InterruptionTest : public HandshakePair {
 protected:
  // Both functions are called once, whatever becomes of the handshake.
  void StartCounting() {
    Accept(pair_->TakeServer(), server_context_, {}, [this](StreamOr stream) {
      ++server_done_;
      server_ = std::move(stream);
    });
    Connect(pair_->TakeClient(), client_context_, "localhost", {}, [this](StreamOr stream) {
      ++client_done_;
      client_ = std::move(stream);
    });
  }

  int server_done_ = 0;
  int client_done_ = 0;
};

TEST_F(InterruptionTest, TenThousandHandshakesCutAtRandomPoints) {
  MakeContexts();
  std::mt19937 random(1);
  constexpr int kHandshakes = 10'000;
  int finished = 0;
  for (int i = 0; i < kHandshakes; ++i) {
    server_ = absl::UnknownError("");
    client_ = absl::UnknownError("");
    pair_.emplace(loop_.loop());
    pair_->to_server().set_max_chunk(1 + random() % 600);
    pair_->to_client().set_max_chunk(1 + random() % 1200);
    StartCounting();
    const int turns = static_cast<int>(random() % 12);
    for (int turn = 0; turn < turns; ++turn) loop_.loop().RunOnce(absl::ZeroDuration());
    switch (random() % 3) {
      case 0:
        pair_->Break();
        break;
      case 1:  // one direction is lost for good
        pair_->to_client().Hold();
        pair_->to_server().set_capacity(0);
        loop_.Advance(absl::Seconds(11));
        break;
      default:
        pair_->Break(absl::OkStatus());
        break;
    }
    loop_.RunUntilIdle();
    ASSERT_EQ(server_done_, i + 1);
    ASSERT_EQ(client_done_, i + 1);
    finished += server_.ok() ? 1 : 0;
  }
  EXPECT_GT(finished, 0);
  EXPECT_LT(finished, kHandshakes);
  EXPECT_EQ(loop_.loop().counters().streams, 0);
}

// An echo over a simulated network. A run ends with all bytes echoed, or with an error at both
// ends.

class Echo : public StreamHandler {
 public:
  int open = 0;

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }
  void OnClose(Stream&, const absl::Status&) override { --open; }
};

class SimulatedTlsTest : public testing::Test {
 protected:
  SimulatedTlsTest() {
    ServerOptions server;
    server.identities = {Localhost()};
    server_context_ = *ServerContext::Create(server);
    ClientOptions client;
    client.roots = Authority().roots();
    client_context_ = *ClientContext::Create(client);
  }

  // Answers whether all was echoed.
  bool Run(uint64_t seed, const SimulatedLink& link) {
    static Echo echo;
    SimulatedNetwork::Options options;
    options.link = link;
    options.host.short_send = 0.3;
    options.host.short_receive = 0.3;
    options.host.send_buffer_bytes = 16 * 1024;
    options.host.receive_buffer_bytes = 16 * 1024;
    std::optional<StreamRecorder> client;
    SimulatedNetwork network(seed, options);
    SimulatedHost& at = network.AddHost("server");
    SimulatedHost& from = network.AddHost("client");
    const auto listener = Listener::Listen(at.loop(), at.Address(443), {}, [&](auto stream) {
      ++echo.open;
      Accept(std::move(stream), server_context_, {}, [&](StreamOr accepted) {
        if (accepted.ok()) return Stream::Run(*std::move(accepted), echo);
        --echo.open;
      });
    });
    EXPECT_TRUE(listener.ok()) << listener.status();
    Connector connector(from.loop());
    bool failed = false;
    const std::string sent(100'000, 'x');
    connector.Connect(at.Address(443), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      failed = !stream.ok();
      if (failed) return;
      Connect(*std::move(stream), client_context_, "localhost", {}, [&](StreamOr connected) {
        failed = !connected.ok();
        if (failed) return;
        client.emplace(*std::move(connected));
        client->stream().Send(sent);
      });
    });
    const auto done = [&] {
      return failed || (client.has_value() &&
                        (client->closed().has_value() || client->received().size() == sent.size()));
    };
    EXPECT_TRUE(network.RunUntil(done, absl::Hours(1))) << network.Describe();
    const bool echoed = client.has_value() && client->received() == sent;
    if (client.has_value()) client->stream().Close();
    EXPECT_TRUE(network.RunUntil([&] { return echo.open == 0; }, absl::Hours(1)))
        << network.Describe();
    client.reset();
    return echoed;
  }

  std::shared_ptr<const ServerContext> server_context_;
  std::shared_ptr<const ClientContext> client_context_;
};

TEST_F(SimulatedTlsTest, EverythingArrivesOverALossyNetwork) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_TRUE(Run(seed, {.jitter = absl::Milliseconds(5), .loss = 0.01})) << seed;
  }
}

TEST_F(SimulatedTlsTest, ResetsAreToldToBothEnds) {
  int echoed = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) echoed += Run(seed, {.reset = 0.01}) ? 1 : 0;
  EXPECT_GT(echoed, 0);
  EXPECT_LT(echoed, 100);
}

}  // namespace
}  // namespace sluice::tls
