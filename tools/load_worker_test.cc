#include "sluice/tools/load_worker.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/message_pattern.h"
#include "sluice/tools/message_sizes.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/raw_protocol.h"

namespace sluice::tools {
namespace {

// Knows how many connections are in the making.
class CountingDialer final : public Dialer {
 public:
  explicit CountingDialer(const SocketAddress& address) : dialer_(address) {}

  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override {
    most_ = std::max(most_, ++count_);
    return dialer_.Dial(
        loop, endpoint, options,
        [this, done = std::move(done)](absl::StatusOr<std::unique_ptr<Stream>> stream) mutable {
          --count_;
          done(std::move(stream));
        });
  }

  int most() const { return most_; }

 private:
  const FixedDialer dialer_;
  mutable int count_ = 0;
  mutable int most_ = 0;
};

// Workers against an echo over a simulated network, on which time is exact: there and back takes 20
// ms. (Of load_test.cc it is to find out that real servers are measured well.)
class LoadWorkerTest : public testing::Test {
 protected:
  struct Echo final : StreamHandler {
    void OnReceive(Stream& stream, absl::Span<uint8_t> received) override {
      bytes += received.size();
      stream.SendLent(received);
    }
    void OnClose(Stream& /*stream*/, const absl::Status& status) override {
      ++ended;
      if (!status.ok()) ++failed;
    }
    uint64_t bytes = 0;
    int accepted = 0;
    int ended = 0;
    int failed = 0;
  };

  LoadWorkerTest() {
    options_.protocol = raw_.get();
    options_.dialer = std::make_shared<FixedDialer>(server_.Address(9000));
    listener_ = *Listener::Listen(server_.loop(), server_.Address(9000), {},
                                  [this](std::unique_ptr<Stream> stream) {
                                    ++echo_.accepted;
                                    Stream::Run(std::move(stream), echo_);
                                  });
  }

  // Runs a load, by as many workers as it has threads, to its end.
  LoadResult Run() {
    const MessagePattern pattern(options_.size, /*seed=*/1);
    int ready = 0;
    int done = 0;
    std::vector<std::unique_ptr<LoadWorker>> workers;
    for (int i = 0; i < options_.threads; ++i) {
      const int first = options_.connections * i / options_.threads;
      const int end = options_.connections * (i + 1) / options_.threads;
      workers.push_back(std::make_unique<LoadWorker>(
          client_.loop(), options_, pattern,
          *raw_->NewClientFactory({.max_message_bytes = options_.size.largest()}), first,
          end - first, [&] { ++ready; }, [&] { ++done; }));
    }
    worker_ = workers[0].get();
    EXPECT_TRUE(network_.RunUntil([&] { return ready == options_.threads; }, absl::Minutes(1)));
    for (const auto& worker : workers) worker->Run();
    EXPECT_TRUE(network_.RunUntil([&] { return done == options_.threads; }, absl::Hours(1)))
        << network_.Describe();
    LoadResult total;
    for (const auto& worker : workers) total += worker->TakeResult();
    if (expect_errors_) return total;
    EXPECT_EQ(total.errors.total(), 0u) << total.errors.first;
    EXPECT_TRUE(network_.RunUntil([&] { return echo_.ended == echo_.accepted; }, absl::Minutes(1)));
    return total;
  }

  const std::unique_ptr<Protocol> raw_ = RawProtocol();
  Echo echo_;  // before the network
  SimulatedNetwork network_{1, {.link = {.latency = absl::Milliseconds(10)}}};
  SimulatedHost& server_ = network_.AddHost("server");
  SimulatedHost& client_ = network_.AddHost("client");
  std::unique_ptr<Listener> listener_;
  LoadOptions options_ = {.connections = 10,
                          .pipeline = 4,
                          .size = 100,
                          .duration = absl::Seconds(10),
                          .timeout = absl::Seconds(2)};
  LoadWorker* worker_ = nullptr;  // the first one, while they run
  bool expect_errors_ = false;
};

TEST_F(LoadWorkerTest, AClosedLoopWaitsForAnswers) {
  const LoadResult result = Run();
  EXPECT_EQ(result.connections, 10);
  EXPECT_NEAR(static_cast<double>(result.messages), 10 * 4 * 10 / 0.02, 100);
  EXPECT_EQ(result.bytes, result.messages * 100);
  EXPECT_GE(result.latency.min(), absl::Milliseconds(20));
  EXPECT_EQ(result.unsent, 0u);
  EXPECT_EQ(echo_.failed, 0);
}

TEST_F(LoadWorkerTest, MessagesOfMixedSizesComeBack) {
  options_.size = *MessageSizes::Parse("10:3,1000:1");
  options_.pipeline = 7;  // so that pieces of the flow begin and end anywhere
  const LoadResult result = Run();
  EXPECT_GT(result.messages, 30'000u);
  EXPECT_EQ(result.bytes, echo_.bytes);
  EXPECT_NEAR(static_cast<double>(result.bytes) / static_cast<double>(result.messages), 257.5, 5);
}

TEST_F(LoadWorkerTest, ARateIsExact) {
  for (const double rate : {0.5, 7.0, 1999.9}) {
    for (const int threads : {1, 3}) {
      options_.rate = rate;
      options_.threads = threads;
      const LoadResult result = Run();
      EXPECT_NEAR(static_cast<double>(result.messages), rate * 10, threads);
      EXPECT_TRUE(result.ReachedRate());
      EXPECT_EQ(result.unsent, 0u);
      EXPECT_GE(result.latency.min(), absl::Milliseconds(20));
      // Late by what the loop's timers are.
      EXPECT_LE(result.latency.max(), absl::Milliseconds(21));
    }
  }
}

TEST_F(LoadWorkerTest, ARateIsReachedHoweverLongTheLastAnswersTake) {
  options_.rate = 1000;
  options_.duration = absl::Milliseconds(100);
  network_.SetLink(server_, client_, {.latency = absl::Milliseconds(500)});
  options_.pipeline = 100;
  const LoadResult result = Run();
  EXPECT_EQ(result.messages, 100u);
  EXPECT_GT(result.elapsed, absl::Milliseconds(500));
  EXPECT_TRUE(result.ReachedRate());
}

TEST_F(LoadWorkerTest, AHighRateSendsAllThatIsDueAtEachTick) {
  options_.connections = 100;
  options_.pipeline = 1000;
  options_.rate = 1'000'000;
  options_.duration = absl::Milliseconds(100);
  const LoadResult result = Run();
  EXPECT_EQ(result.messages, 100'000u);
  EXPECT_EQ(result.unsent, 0u);
}

TEST_F(LoadWorkerTest, InAnOpenLoopAStallShowsInWhatWasDueMeanwhile) {
  const auto stall = [&] {
    network_.After(absl::Seconds(5), [&] { server_.Stall(); });
    network_.After(absl::Seconds(6), [&] { server_.Resume(); });
  };
  stall();
  const LoadResult closed = Run();
  EXPECT_EQ(closed.latency.CountBetween(absl::Milliseconds(100), absl::InfiniteDuration()), 40u);

  options_.rate = 1000;
  stall();
  const LoadResult open = Run();
  EXPECT_EQ(open.messages, 10'000u);
  // What was due x into the second waited for its end, and then, as the pipelines let only 2000 a
  // second pass, for another x / 2.
  const uint64_t slow =
      open.latency.CountBetween(absl::Milliseconds(520), absl::InfiniteDuration());
  EXPECT_NEAR(static_cast<double>(slow), 960, 60);
}

TEST_F(LoadWorkerTest, WhatAServerCannotKeepUpWithIsUnsentAndNoError) {
  options_.pipeline = 1;  // 50 a second on each connection
  options_.rate = 1000;
  const LoadResult result = Run();
  EXPECT_NEAR(static_cast<double>(result.messages), 5000, 50);
  EXPECT_EQ(result.messages + result.unsent, 10'000u);
  EXPECT_FALSE(result.ReachedRate());
  // Half of the time had passed since the last of them was due: more than the timeout, which counts
  // from when it was sent.
  EXPECT_GT(result.latency.max(), absl::Seconds(4.5));
}

TEST_F(LoadWorkerTest, AThinkingConnectionWaitsAfterEachAnswer) {
  options_.think_time = absl::Milliseconds(480);  // so that each has two messages a second
  for (const int pipeline : {1, 3}) {
    options_.pipeline = pipeline;
    const LoadResult result = Run();
    EXPECT_NEAR(static_cast<double>(result.messages), 10 * pipeline * 2 * 10, 10 * pipeline);
    EXPECT_GE(result.latency.min(), absl::Milliseconds(20));
    EXPECT_LE(result.latency.max(), absl::Milliseconds(21));
  }
}

TEST_F(LoadWorkerTest, ThinkingConnectionsDoNotAllSendAtOnce) {
  options_.connections = 100;
  options_.pipeline = 2;
  options_.think_time = absl::Seconds(8);
  options_.duration = absl::Seconds(4);
  EXPECT_NEAR(static_cast<double>(Run().messages), 100, 2) << "half of the 200 had their turn";
}

TEST_F(LoadWorkerTest, TheWarmUpIsLoadThatIsNotCounted) {
  options_.warm_up = absl::Seconds(3);
  for (const std::optional<double> rate : {std::optional<double>(), std::optional<double>(100)}) {
    options_.rate = rate;
    const uint64_t before = echo_.bytes;
    const LoadResult result = Run();
    const double expected = rate.value_or(10 * 4 / 0.02);
    EXPECT_NEAR(result.messages_per_second(), expected, expected / 50);
    EXPECT_NEAR(absl::ToDoubleSeconds(result.elapsed), 10, 0.1);
    EXPECT_EQ(result.latency.count(), result.messages);
    EXPECT_NEAR(static_cast<double>(echo_.bytes - before), expected * 13 * 100,
                expected * 13 * 100 / 50);
  }
}

TEST_F(LoadWorkerTest, TheBacklogOfAWarmUpIsAnsweredInTheMeasuredTime) {
  options_.pipeline = 1;  // 50 a second on each connection
  options_.rate = 1000;
  options_.warm_up = absl::Seconds(20);  // 10,000 are left of it
  const LoadResult result = Run();
  EXPECT_NEAR(static_cast<double>(result.messages), 5000, 50);
  EXPECT_NEAR(result.messages_per_second(), 500, 5);
  EXPECT_EQ(result.latency.count(), result.messages);
  // They had been due for half of the time.
  EXPECT_GE(result.latency.min(), absl::Seconds(9.9));
  EXPECT_GT(result.latency.max(), absl::Seconds(14.5));
  EXPECT_FALSE(result.ReachedRate());
}

TEST_F(LoadWorkerTest, AWarmUpThatIsCutShortHasNoMessages) {
  options_.warm_up = absl::Seconds(3);
  network_.After(absl::Seconds(1), [&] { worker_->Finish(); });
  const LoadResult result = Run();
  EXPECT_EQ(result.messages, 0u);
  EXPECT_EQ(result.elapsed, absl::ZeroDuration());
  EXPECT_EQ(result.messages_per_second(), 0);
}

TEST_F(LoadWorkerTest, ConnectionsAreRenewedAfterSoManyMessages) {
  options_.reconnect = 7;
  options_.pipeline = 3;
  const LoadResult result = Run();
  const auto renewed = result.time_to_connect.count();
  EXPECT_EQ(result.connections, 10);
  EXPECT_EQ(static_cast<uint64_t>(echo_.accepted), 10 + renewed);
  EXPECT_EQ(echo_.failed, 0) << "all ended gracefully";
  EXPECT_GE(result.messages, renewed * 7);
  EXPECT_LE(result.messages, (renewed + 10) * 7);
  // Seven messages in three rounds, an end and its answer, and a connect: 20 ms each.
  EXPECT_NEAR(result.reconnects_per_second(), 10 / 0.1, 5);
  EXPECT_GE(result.time_to_connect.min(), absl::Milliseconds(20));
  EXPECT_LE(result.time_to_connect.max(), absl::Milliseconds(22));
}

TEST_F(LoadWorkerTest, ConnectionsOfOneMessageEachAtARate) {
  options_.reconnect = 1;
  options_.rate = 100;
  const LoadResult result = Run();
  EXPECT_EQ(result.messages, 1000u);
  EXPECT_NEAR(result.reconnects_per_second(), 100, 2);
  EXPECT_LE(result.latency.max(), absl::Milliseconds(21)) << "it was open when it was due";
  EXPECT_EQ(echo_.failed, 0);
}

TEST_F(LoadWorkerTest, ConnectionsAreNotRenewedAllAtOnce) {
  const auto dialer = std::make_shared<CountingDialer>(server_.Address(9000));
  options_.dialer = dialer;
  options_.connections = 1000;
  options_.reconnect = 1;
  options_.duration = absl::Seconds(1);
  const LoadResult result = Run();
  EXPECT_EQ(result.connections, 1000);
  EXPECT_GT(result.time_to_connect.count(), 5000u);
  EXPECT_EQ(dialer->most(), 256);
}

TEST_F(LoadWorkerTest, RenewedConnectionsThinkToo) {
  options_.reconnect = 1;
  options_.pipeline = 1;
  options_.think_time = absl::Milliseconds(480);
  const LoadResult result = Run();
  EXPECT_NEAR(static_cast<double>(result.messages), 10 * 2 * 10, 10);
}

TEST_F(LoadWorkerTest, ARunEndsWhenTheServerIsGoneWhileConnectionsAreRenewed) {
  options_.reconnect = 2;
  options_.duration = absl::InfiniteDuration();
  network_.After(absl::Seconds(1), [&] {
    listener_.reset();
    server_.CrashNow(SimulatedHost::Crash::kProcess);
  });
  expect_errors_ = true;
  EXPECT_EQ(Run().errors.total(), 10u);
}

}  // namespace
}  // namespace sluice::tools
