// Forwarders on a simulated network that does its worst: every byte arrives in its place, a half
// that ends is heard of after all of it, whatever ends badly is heard of as that, and each
// forwarder is done once.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/forwarder.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Pattern;

// One end of a relayed connection: sends as it likes, and checks what comes.
class Talker final : public StreamHandler {
 public:
  explicit Talker(SimulatedNetwork& network) : network_(network) {}

  void Start(std::unique_ptr<Stream> stream, size_t size) {
    stream_ = std::move(stream);
    size_ = size;
    stream_->SetHandler(*this);
    SendMore();
  }

  // Sends some more, ends its half when all is sent, stops reading or goes on.
  void Act() {
    if (closed_) return;
    if (OneIn(4)) return stream_->PauseReceiving();
    stream_->ResumeReceiving();
    SendMore();
  }
  void StopReading() { stream_->PauseReceiving(); }
  void Abort() {
    if (!closed_) stream_->Abort(absl::CancelledError("at random"));
  }
  // From now on without delay.
  void Finish() {
    hurry_ = true;
    if (closed_) return;
    stream_->ResumeReceiving();
    SendMore();
  }

  bool closed() const { return closed_; }
  bool ended() const { return ended_; }
  const absl::Status& status() const { return status_; }
  size_t received() const { return received_; }
  size_t sent() const { return sent_; }
  size_t size() const { return size_; }

 private:
  void OnReceive(Stream&, absl::Span<uint8_t> bytes) override {
    EXPECT_FALSE(ended_);
    const absl::string_view got(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    EXPECT_TRUE(got == Pattern(received_, got.size())) << "at " << received_;
    received_ += got.size();
  }
  void OnReceiveEnd(Stream&) override { ended_ = true; }
  void OnSendReady(Stream&) override { SendMore(); }
  void OnClose(Stream&, const absl::Status& status) override {
    EXPECT_FALSE(closed_);
    closed_ = true;
    status_ = status;
  }

  void SendMore() {
    while (sent_ < size_) {
      if (!hurry_ && OneIn(3)) return;
      const size_t piece = std::min<size_t>(size_ - sent_, 1 + network_.Random(100'000));
      const SendResult result = stream_->Send(Pattern(sent_, piece));
      if (result == SendResult::kRefused) return;
      sent_ += piece;
      if (result == SendResult::kBlocked) return;
    }
    if (hurry_ || OneIn(2)) stream_->ShutdownSend();
  }
  bool OneIn(uint64_t n) { return network_.Random(n) == 0; }

  SimulatedNetwork& network_;
  std::unique_ptr<Stream> stream_;
  size_t size_ = 0;
  size_t sent_ = 0;
  size_t received_ = 0;
  bool hurry_ = false;
  bool ended_ = false;
  bool closed_ = false;
  absl::Status status_;
};

// client host <-> relay host <-> server host, and on the relay one Forwarder a connection.
class RelayedNetwork {
 public:
  struct Connection {
    explicit Connection(SimulatedNetwork& network) : client(network), server(network) {}
    Talker client, server;
    std::unique_ptr<Forwarder> forwarder;
    std::optional<Forwarder::Outcome> outcome;

    bool over() const { return client.closed() && server.closed() && outcome.has_value(); }
  };

  RelayedNetwork(uint64_t seed, const SimulatedNetwork::Options& options)
      : network_(seed, options), clients_(client_host_.loop()) {
    listener_ = *Listener::Listen(
        relay_host_.loop(), relay_host_.Address(1), {.stream = patient_},
        [this](std::unique_ptr<Stream> stream) { accepted_ = std::move(stream); });
    server_listener_ =
        *Listener::Listen(server_host_.loop(), server_host_.Address(1), {.stream = patient_},
                          [this](std::unique_ptr<Stream> stream) { served_ = std::move(stream); });
  }

  SimulatedNetwork& network() { return network_; }
  SimulatedHost& client_host() { return client_host_; }
  SimulatedHost& relay_host() { return relay_host_; }
  SimulatedHost& server_host() { return server_host_; }
  std::vector<std::unique_ptr<Connection>>& connections() { return connections_; }

  // A relayed connection, before any fault; each end is going to send so many bytes.
  Connection& Connect(size_t from_client, size_t from_server) {
    connections_.push_back(std::make_unique<Connection>(network_));
    Connection& connection = *connections_.back();
    std::unique_ptr<Stream> client, second;
    clients_.Connect(relay_host_.Address(1), {},
                     [&](absl::StatusOr<std::unique_ptr<Stream>> s) { client = *std::move(s); });
    backends_.Connect(server_host_.Address(1), {.stream = patient_},
                      [&](absl::StatusOr<std::unique_ptr<Stream>> s) { second = *std::move(s); });
    EXPECT_TRUE(network_.RunUntil(
        [&] {
          return client != nullptr && second != nullptr && accepted_ != nullptr &&
                 served_ != nullptr;
        },
        absl::Minutes(1)));
    connection.forwarder =
        std::make_unique<Forwarder>(std::move(accepted_), std::move(second), options_);
    connection.forwarder->Start([&](const Forwarder::Outcome& outcome) {
      EXPECT_FALSE(connection.outcome.has_value());
      connection.outcome = outcome;
      if (network_.Random(2) == 0) connection.forwarder = nullptr;
    });
    connection.client.Start(std::move(client), from_client);
    connection.server.Start(std::move(served_), from_server);
    return connection;
  }

  // Of the forwarders to come, and of their second streams, which must not count.
  void SetIdleTimeout(absl::Duration timeout) {
    options_.idle_timeout = patient_.idle_timeout = timeout;
  }

 private:
  Forwarder::Options options_;
  StreamOptions patient_;
  // Outlive the network, and so the loops.
  std::vector<std::unique_ptr<Connection>> connections_;
  std::unique_ptr<Stream> accepted_, served_;
  SimulatedNetwork network_;
  SimulatedHost& client_host_ = network_.AddHost("client");
  SimulatedHost& relay_host_ = network_.AddHost("relay");
  SimulatedHost& server_host_ = network_.AddHost("server");
  Connector clients_, backends_{relay_host_.loop()};
  std::unique_ptr<Listener> listener_, server_listener_;
};

size_t SomeSize(SimulatedNetwork& network) {
  constexpr uint64_t kBounds[] = {1, 100, 20'000, 3'000'000};
  return network.Random(kBounds[network.Random(4)]);
}

// Ten connections whose ends do as they like for a while, and then finish.
void RunAtRandom(RelayedNetwork& relayed, bool aborts) {
  SimulatedNetwork& network = relayed.network();
  for (int i = 0; i < 10; ++i) relayed.Connect(SomeSize(network), SomeSize(network));
  for (int step = 0; step < 200; ++step) {
    RelayedNetwork::Connection& one = *relayed.connections()[network.Random(10)];
    Talker& talker = network.Random(2) == 0 ? one.client : one.server;
    aborts&& network.Random(40) == 0 ? talker.Abort() : talker.Act();
    if (aborts && network.Random(100) == 0) one.forwarder = nullptr;
    network.RunFor(absl::Milliseconds(network.Random(30)));
  }
  for (const auto& connection : relayed.connections()) {
    connection->client.Finish();
    connection->server.Finish();
  }
}

class ForwarderSeedTest : public testing::TestWithParam<uint64_t> {};

INSTANTIATE_TEST_SUITE_P(Seeds, ForwarderSeedTest, testing::Range<uint64_t>(1, 21));

SimulatedNetwork::Options Slow() {
  SimulatedNetwork::Options options;
  options.link = {.latency = absl::Milliseconds(5),
                  .jitter = absl::Milliseconds(5),
                  .bytes_per_second = 1'000'000,
                  .loss = 0.02,
                  .partition_every = absl::Seconds(20),
                  .partition_for = absl::Seconds(5)};
  options.host = {.short_send = 0.3,
                  .short_receive = 0.3,
                  .send_buffer_bytes = 20'000,
                  .receive_buffer_bytes = 20'000,
                  .stall_every = absl::Seconds(10),
                  .stall_for = absl::Seconds(1)};
  return options;
}

TEST_P(ForwarderSeedTest, WhatCostsTimeCostsNoByteAndNoOrder) {
  RelayedNetwork relayed(GetParam(), Slow());
  relayed.SetIdleTimeout(absl::InfiniteDuration());
  RunAtRandom(relayed, /*aborts=*/false);
  for (const auto& connection : relayed.connections()) {
    ASSERT_TRUE(relayed.network().RunUntil([&] { return connection->over(); }, absl::Minutes(30)))
        << relayed.network().Describe();
    EXPECT_EQ(connection->server.received(), connection->client.size());
    EXPECT_EQ(connection->client.received(), connection->server.size());
    EXPECT_TRUE(connection->client.status().ok()) << connection->client.status();
    EXPECT_TRUE(connection->server.status().ok()) << connection->server.status();
    EXPECT_TRUE(connection->client.ended() && connection->server.ended());
    const Forwarder::Outcome& outcome = *connection->outcome;
    EXPECT_TRUE(outcome.first.status.ok()) << outcome.first.status;
    EXPECT_TRUE(outcome.second.status.ok()) << outcome.second.status;
    EXPECT_EQ(outcome.first.received, connection->client.size());
    EXPECT_EQ(outcome.second.sent, connection->client.size());
    EXPECT_EQ(outcome.second.received, connection->server.size());
    EXPECT_EQ(outcome.first.sent, connection->server.size());
  }
}

TEST_P(ForwarderSeedTest, WhatEndsBadlyIsHeardOfAsThatByBothEnds) {
  SimulatedNetwork::Options options = Slow();
  options.link.reset = 0.002;
  RelayedNetwork relayed(GetParam(), options);
  relayed.SetIdleTimeout(absl::Minutes(10));
  RunAtRandom(relayed, /*aborts=*/true);
  for (const auto& connection : relayed.connections()) {
    const Talker& client = connection->client;
    const Talker& server = connection->server;
    ASSERT_TRUE(relayed.network().RunUntil([&] { return client.closed() && server.closed(); },
                                           absl::Minutes(60)))
        << relayed.network().Describe();
    EXPECT_LE(server.received(), client.sent());
    EXPECT_LE(client.received(), server.sent());
    // Who was told of an end has everything, and who was not is told of a failure.
    EXPECT_TRUE(server.ended() ? server.received() == client.size() : !server.status().ok());
    EXPECT_TRUE(client.ended() ? client.received() == server.size() : !client.status().ok());
  }
}

// Deadlines.

class ForwarderTimeTest : public testing::Test {
 protected:
  RelayedNetwork::Connection& Connect(size_t from_client = 0, size_t from_server = 0) {
    return relayed_.Connect(from_client, from_server);
  }
  bool Over(const RelayedNetwork::Connection& connection, absl::Duration within) {
    return relayed_.network().RunUntil([&] { return connection.over(); }, within);
  }

  RelayedNetwork relayed_{1, {}};
};

TEST_F(ForwarderTimeTest, BytesInEitherDirectionKeepBothFromBeingIdle) {
  relayed_.SetIdleTimeout(absl::Minutes(1));
  // Two minutes' worth, in one direction.
  relayed_.network().SetLink(relayed_.client_host(), relayed_.relay_host(),
                             {.bytes_per_second = 20'000});
  RelayedNetwork::Connection& connection = Connect(0, 2'400'000);
  connection.server.Finish();
  relayed_.network().RunFor(absl::Seconds(110));
  EXPECT_FALSE(connection.outcome.has_value());
  EXPECT_FALSE(connection.client.ended());
  connection.client.Finish();
  ASSERT_TRUE(Over(connection, absl::Minutes(1)));
  EXPECT_EQ(connection.client.received(), 2'400'000u);
  EXPECT_TRUE(connection.client.status().ok()) << connection.client.status();
}

// The server's side is held back for minutes, while what it has sent leaves.
TEST_F(ForwarderTimeTest, ASideThatIsHeldBackIsNotIdleWhileTheOtherOneTakesBytes) {
  relayed_.SetIdleTimeout(absl::Minutes(1));
  relayed_.network().SetLink(relayed_.client_host(), relayed_.relay_host(),
                             {.bytes_per_second = 2'000});
  RelayedNetwork::Connection& connection = Connect(0, 1'500'000);
  connection.server.Finish();
  connection.client.Finish();
  ASSERT_TRUE(Over(connection, absl::Minutes(15)));
  EXPECT_TRUE(connection.outcome->first.status.ok()) << connection.outcome->first.status;
  EXPECT_TRUE(connection.outcome->second.status.ok()) << connection.outcome->second.status;
  EXPECT_EQ(connection.client.received(), 1'500'000u);
  EXPECT_TRUE(connection.client.status().ok()) << connection.client.status();
}

TEST_F(ForwarderTimeTest, WhenNobodyTakesBytesBothEndAndNeitherSeesAnEnd) {
  relayed_.SetIdleTimeout(absl::Minutes(1));
  RelayedNetwork::Connection& connection = Connect(1, 4'000'000);
  connection.client.StopReading();
  connection.server.Finish();
  relayed_.network().RunFor(absl::Seconds(59));
  EXPECT_FALSE(connection.outcome.has_value());
  ASSERT_TRUE(Over(connection, absl::Seconds(20)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(connection.outcome->first.status));
  EXPECT_TRUE(absl::IsDeadlineExceeded(connection.outcome->second.status));
  EXPECT_FALSE(connection.client.ended());
  EXPECT_FALSE(connection.client.status().ok());
  EXPECT_FALSE(connection.server.status().ok());
}

TEST_F(ForwarderTimeTest, AnIdleConnectionEndsAsAFailure) {
  relayed_.SetIdleTimeout(absl::Minutes(1));
  RelayedNetwork::Connection& connection = Connect();
  relayed_.network().RunFor(absl::Seconds(59));
  EXPECT_FALSE(connection.outcome.has_value());
  ASSERT_TRUE(Over(connection, absl::Seconds(20)));
  EXPECT_FALSE(connection.outcome->first.status.ok());
  EXPECT_FALSE(connection.outcome->second.status.ok());
}

TEST_F(ForwarderTimeTest, ADrainLetsFinishWhatIsOnItsWayAndThenClosesInGoodOrder) {
  relayed_.network().SetLink(relayed_.client_host(), relayed_.relay_host(),
                             {.bytes_per_second = 100'000});
  RelayedNetwork::Connection& connection = Connect(0, 1'000'000);
  connection.server.Finish();
  relayed_.network().RunFor(absl::Seconds(1));
  bool drained = false;
  relayed_.relay_host().loop().Drain(absl::Minutes(1), [&] { drained = true; });
  relayed_.network().RunFor(absl::Seconds(4));
  EXPECT_FALSE(drained);
  ASSERT_TRUE(
      relayed_.network().RunUntil([&] { return connection.client.ended(); }, absl::Seconds(9)));
  EXPECT_EQ(connection.client.received(), 1'000'000u);
  connection.client.Finish();
  ASSERT_TRUE(Over(connection, absl::Seconds(10)));
  EXPECT_TRUE(drained);
  EXPECT_TRUE(connection.client.status().ok()) << connection.client.status();
  EXPECT_TRUE(connection.server.status().ok()) << connection.server.status();
}

TEST_F(ForwarderTimeTest, ADrainClosesAQuietConnectionInGoodOrder) {
  RelayedNetwork::Connection& connection = Connect();
  bool drained = false;
  relayed_.relay_host().loop().Drain(absl::Minutes(1), [&] { drained = true; });
  ASSERT_TRUE(relayed_.network().RunUntil(
      [&] { return connection.client.ended() && connection.server.ended(); }, absl::Seconds(2)));
  connection.client.Finish();
  connection.server.Finish();
  ASSERT_TRUE(Over(connection, absl::Seconds(10)));
  EXPECT_TRUE(drained);
  EXPECT_TRUE(connection.client.status().ok()) << connection.client.status();
  EXPECT_TRUE(connection.server.status().ok()) << connection.server.status();
}

}  // namespace
}  // namespace sluice
