#include "sluice/tools/udp_load.h"

#include <signal.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/udp.h"
#include "sluice/tools/message_pattern.h"
#include "sluice/tools/terminal.h"
#include "sluice/tools/udp_echo_server.h"
#include "sluice/tools/udp_load_report.h"
#include "sluice/tools/udp_load_worker.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

// What the load and its report say of a run against an echo, over real sockets.

class UdpLoadTest : public testing::Test {
 protected:
  void Serve(const SocketAddress& listen = SocketAddress::Ipv4Loopback(0)) {
    server = *UdpEchoServer::Start({.listen = listen, .threads = 2});
    options.peer = server->address();
  }
  UdpLoadResult Run() {
    UdpLoad load(options);
    absl::StatusOr<UdpLoadResult> result =
        load.Run(absl::Seconds(1), [](const UdpLoad::Progress& /*progress*/) {});
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  std::unique_ptr<UdpEchoServer> server;
  UdpLoadOptions options = {.sockets = 7,
                            .pipeline = 3,
                            .size = 1000,
                            .duration = absl::Milliseconds(100),
                            .lost_after = absl::Minutes(1),
                            .threads = 2};
};

TEST_F(UdpLoadTest, EveryDatagramComesBack) {
  Serve();
  for (const size_t size : {UdpExchange::kHeaderBytes, size_t{1000}, size_t{20'000}}) {
    options.size = size;
    // No more than a receive buffer holds: nothing need get lost.
    if (size > 1000) options.sockets = options.pipeline = 2;
    const UdpLoadResult result = Run();
    EXPECT_GE(result.counts.sent, static_cast<uint64_t>(options.sockets * options.pipeline));
    EXPECT_EQ(result.counts.answers, result.counts.sent);
    EXPECT_EQ(result.latency.count(), result.counts.answers);
    EXPECT_EQ(result.counts.damaged + result.counts.duplicated + result.errors, 0u)
        << result.first_error;
    EXPECT_GE(result.elapsed, absl::Milliseconds(100));
    EXPECT_TRUE(UdpLoadStatus(options, result).ok());
  }
}

TEST_F(UdpLoadTest, TheServerCountsWhatItAnswers) {
  Serve();
  const UdpLoadResult result = Run();
  const UdpEchoTotals totals = server->Stop(absl::Minutes(1));
  EXPECT_EQ(totals.datagrams, result.counts.sent);
  EXPECT_EQ(totals.bytes, result.counts.sent * 1000);
  EXPECT_EQ(totals.unread + totals.unsent + totals.errors, 0u);
}

TEST_F(UdpLoadTest, ASignalEndsTheRunEarly) {
  Serve();
  options.duration = absl::InfiniteDuration();
  UdpLoad load(options);
  uint64_t shown = 0;
  const absl::StatusOr<UdpLoadResult> result =
      load.Run(absl::Milliseconds(1), [&](const UdpLoad::Progress& progress) {
        if (progress.answers > 0 && shown == 0) raise(SIGINT);
        shown = progress.answers;
      });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(shown, 0u);
  EXPECT_LE(shown, result->counts.answers);
  EXPECT_EQ(result->counts.answers, result->counts.sent);
}

TEST_F(UdpLoadTest, NobodyThereIsAFailureThatSaysSo) {
  Serve();
  server = nullptr;
  options.lost_after = absl::Milliseconds(100);
  const UdpLoadResult result = Run();
  EXPECT_EQ(result.counts.answers, 0u);
  EXPECT_EQ(result.counts.lost, result.counts.sent);
  const absl::Status status = UdpLoadStatus(options, result);
  EXPECT_THAT(std::string(status.message()), HasSubstr(options.peer.ToString() + " to any of "));
  const std::string report = UdpLoadReport("title", options, result, Terminal());
  EXPECT_THAT(report, HasSubstr("lost "));
  EXPECT_THAT(report, HasSubstr("(100%)"));
}

// Over a network with faults, by a worker on a simulated loop.

class SimulatedUdpLoadTest : public testing::Test {
 protected:
  // Answers as `answer` says: it is given each datagram and how to send to its sender.
  struct Server final : UdpHandler {
    void OnDatagrams(UdpSocket& of, absl::Span<const ReceivedDatagram> datagrams) override {
      for (const ReceivedDatagram& datagram : datagrams) answer(of, datagram);
    }
    std::function<void(UdpSocket&, const ReceivedDatagram&)> answer =
        [](UdpSocket& of, const ReceivedDatagram& datagram) {
          of.SendLent(datagram.bytes, *datagram.peer);
        };
    std::unique_ptr<UdpSocket> socket;
  };

  UdpLoadResult Run() {
    server_.socket = *UdpSocket::Bind(server_host_.loop(), server_host_.Address(9000), {}, server_);
    options_.peer = server_.socket->local_address();
    const MessagePattern pattern(options_.size, /*seed=*/1);
    bool done = false;
    UdpLoadWorker worker(client_host_.loop(), options_, pattern, 0, options_.sockets,
                         [&] { done = true; });
    EXPECT_TRUE(worker.Open().ok());
    worker.Run();
    EXPECT_TRUE(network_.RunUntil([&] { return done; }, absl::Hours(1)));
    return worker.TakeResult();
  }

  Server server_;  // before the network
  SimulatedNetwork network_{1, {.link = {.latency = absl::Milliseconds(20)}}};
  SimulatedHost& server_host_ = network_.AddHost("server");
  SimulatedHost& client_host_ = network_.AddHost("client");
  UdpLoadOptions options_ = {.sockets = 10,
                             .pipeline = 4,
                             .size = 100,
                             .duration = absl::Seconds(20),
                             .lost_after = absl::Seconds(1)};
};

TEST_F(SimulatedUdpLoadTest, WhatTheNetworkDoesIsCounted) {
  network_.SetLink(
      server_host_, client_host_,
      {.latency = absl::Milliseconds(20), .loss = 0.01, .duplicate = 0.02, .reorder = 0.05});
  const UdpLoadResult result = Run();
  const UdpCounts& counts = result.counts;
  EXPECT_EQ(counts.sent, counts.answers + counts.late + counts.lost);
  const double sent = static_cast<double>(counts.sent);
  EXPECT_GT(sent, 10'000);
  EXPECT_NEAR(static_cast<double>(counts.lost) / sent, 0.02, 0.005);
  EXPECT_NEAR(static_cast<double>(counts.duplicated) / sent, 0.04, 0.01);
  EXPECT_GT(counts.reordered, counts.sent / 100);
  EXPECT_EQ(counts.late, 0u);
  EXPECT_EQ(counts.damaged + result.errors, 0u);
  EXPECT_GE(result.latency.min(), absl::Milliseconds(40));
  EXPECT_TRUE(UdpLoadStatus(options_, result).ok()) << "loss is no failure";
}

TEST_F(SimulatedUdpLoadTest, AnAnswerAfterTheTimeIsLateAndNotLost) {
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(600)});
  const UdpLoadResult result = Run();
  EXPECT_EQ(result.counts.answers, 0u);
  EXPECT_GT(result.counts.late, 500u);
  EXPECT_TRUE(UdpLoadStatus(options_, result).ok());
}

TEST_F(SimulatedUdpLoadTest, APartitionLosesWhatIsInFlightAndItGoesOnAfterwards) {
  network_.After(absl::Seconds(5), [&] { network_.Partition(server_host_, client_host_); });
  network_.After(absl::Seconds(10), [&] { network_.Heal(server_host_, client_host_); });
  const UdpLoadResult result = Run();
  // Four are in flight on each, and after a second so many more.
  EXPECT_GE(result.counts.lost, 5u * 40);
  EXPECT_LE(result.counts.lost, 6u * 40);
  EXPECT_GT(result.counts.answers, 10'000u);
}

TEST_F(SimulatedUdpLoadTest, ARateIsExact) {
  options_.rate = 333.25;
  const UdpLoadResult result = Run();
  EXPECT_EQ(result.counts.answers, 6665u);
  EXPECT_TRUE(result.ReachedRate());
  EXPECT_EQ(result.unsent, 0u);
  EXPECT_GE(result.latency.min(), absl::Milliseconds(40));
  EXPECT_LE(result.latency.max(), absl::Milliseconds(41));
}

TEST_F(SimulatedUdpLoadTest, AStallShowsInWhatWasDueMeanwhile) {
  options_.rate = 100;
  network_.After(absl::Seconds(5), [&] { server_host_.Stall(); });
  network_.After(absl::Milliseconds(5500), [&] { server_host_.Resume(); });
  const UdpLoadResult result = Run();
  EXPECT_EQ(result.counts.answers, 2000u);
  const uint64_t slow =
      result.latency.CountBetween(absl::Milliseconds(50), absl::InfiniteDuration());
  EXPECT_NEAR(static_cast<double>(slow), 50, 3);
}

TEST_F(SimulatedUdpLoadTest, WhatThereIsNoRoomForIsUnsent) {
  options_.rate = 2000;  // of which there is room for half
  const UdpLoadResult result = Run();
  EXPECT_NEAR(result.answers_per_second(), 1000, 20);
  EXPECT_EQ(result.counts.sent + result.unsent, 40'000u);
  EXPECT_EQ(result.counts.lost, 0u) << "lateness counts from sending";
  EXPECT_FALSE(result.ReachedRate());
}

TEST_F(SimulatedUdpLoadTest, TheWarmUpIsNotCounted) {
  options_.warm_up = absl::Seconds(10);
  network_.After(absl::Seconds(5), [&] { network_.Partition(server_host_, client_host_); });
  network_.After(absl::Seconds(6), [&] { network_.Heal(server_host_, client_host_); });
  const UdpLoadResult result = Run();
  EXPECT_EQ(result.counts.lost, 0u);
  EXPECT_EQ(result.counts.sent, result.counts.answers);
  EXPECT_EQ(result.latency.count(), result.counts.answers);
  EXPECT_NEAR(result.answers_per_second(), 1000, 20);
  EXPECT_NEAR(absl::ToDoubleSeconds(result.elapsed), 20, 0.1);
}

TEST_F(SimulatedUdpLoadTest, DamageInTheWarmUpIsAFailure) {
  options_.warm_up = absl::Seconds(1);
  bool damaged = false;
  server_.answer = [&](UdpSocket& of, const ReceivedDatagram& datagram) {
    if (!std::exchange(damaged, true)) datagram.bytes[50] ^= 1;
    of.SendLent(datagram.bytes, *datagram.peer);
  };
  const UdpLoadResult result = Run();
  EXPECT_EQ(result.counts.damaged, 1u);
  EXPECT_EQ(UdpLoadStatus(options_, result).code(), absl::StatusCode::kDataLoss);
}

TEST_F(SimulatedUdpLoadTest, ARateIsReachedHoweverLongTheLastAnswersTake) {
  options_.rate = 1000;
  options_.duration = absl::Milliseconds(100);
  options_.pipeline = 100;
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(500)});
  const UdpLoadResult result = Run();
  EXPECT_EQ(result.counts.answers, 100u);
  EXPECT_GT(result.elapsed, absl::Milliseconds(500));
  EXPECT_TRUE(result.ReachedRate());
}

TEST_F(SimulatedUdpLoadTest, DamageIsAFailure) {
  int count = 0;
  server_.answer = [&](UdpSocket& of, const ReceivedDatagram& datagram) {
    if (++count % 1000 == 0) datagram.bytes[50] ^= 1;
    of.SendLent(datagram.bytes, *datagram.peer);
  };
  const UdpLoadResult result = Run();
  EXPECT_EQ(result.counts.damaged, static_cast<uint64_t>(count / 1000));
  EXPECT_EQ(result.counts.lost, result.counts.damaged);
  const absl::Status status = UdpLoadStatus(options_, result);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nothing that was sent"));
  EXPECT_THAT(UdpLoadReportJson("udp://x", options_, result), HasSubstr("\"ok\":false"));
}

TEST_F(SimulatedUdpLoadTest, RefusalsAreToldAndDoNotMakeItSpin) {
  network_.After(absl::Seconds(10), [&] { server_.socket = nullptr; });
  const UdpLoadResult result = Run();
  EXPECT_GT(result.errors, 0u);
  EXPECT_LE(result.errors, 12u * 40);
  EXPECT_THAT(result.first_error, HasSubstr("refused"));
  EXPECT_TRUE(UdpLoadStatus(options_, result).ok()) << "there were answers before";
}

}  // namespace
}  // namespace sluice::tools
