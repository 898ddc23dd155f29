#include "sluice/core/simulation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"
#include "sluice/core/timer.h"

// The example of stream.h.
class Echo : public sluice::StreamHandler {
  void OnReceive(sluice::Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(sluice::Stream& stream) override { stream.ResumeReceiving(); }
};

namespace sluice {
namespace {

using test::Pattern;

// Sends a byte, awaits it back, sends the next.
class Talker final : public StreamHandler {
 public:
  explicit Talker(int rounds) : rounds_(rounds) {}
  void Start(std::unique_ptr<Stream>& stream) {
    stream_ = std::move(stream);
    stream_->SetHandler(*this);
    stream_->Send("x");
  }
  bool done() const { return rounds_ == 0; }

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t>) override {
    if (--rounds_ > 0) stream.Send("x");
  }
  int rounds_;
  std::unique_ptr<Stream> stream_;
};

TEST(SimulationTest, HeaderExample) {
  Talker talker(/*rounds=*/500);
  Echo echo;  // before the network: it hears of the loops' end
  sluice::SimulatedNetwork network(/*seed=*/7);
  sluice::SimulatedHost& server = network.AddHost("server");
  sluice::SimulatedHost& client = network.AddHost("client");
  network.SetLink(server, client, {.latency = absl::Milliseconds(20), .loss = 0.01});
  auto listener = sluice::Listener::Listen(
      server.loop(), server.Address(9000), {},
      [&](std::unique_ptr<sluice::Stream> s) { sluice::Stream::Run(std::move(s), echo); });
  sluice::Connector connector(client.loop());
  connector.Connect(server.Address(9000), {}, [&](auto stream) { talker.Start(*stream); });
  network.After(absl::Seconds(5), [&] { network.Partition(server, client); });
  network.After(absl::Seconds(15), [&] { network.Heal(server, client); });
  EXPECT_TRUE(network.RunUntil([&] { return talker.done(); }, absl::Minutes(1)))
      << network.Describe();
  EXPECT_GT(network.now() - MonotonicTime(), absl::Hours(1) + absl::Seconds(30));
}

class SimulatedPairTest : public testing::Test {
 protected:
  void Connect(const Listener::Options& listen = {}, const Connector::Options& connect = {}) {
    listener_ = *Listener::Listen(server_host_.loop(), server_host_.Address(9000), listen,
                                  [this](std::unique_ptr<Stream> stream) {
                                    server_.stream = std::move(stream);
                                    server_.stream->SetHandler(server_.recorder);
                                  });
    connector_.Connect(server_host_.Address(9000), connect,
                       [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                         connect_status_ = stream.status();
                         if (!stream.ok()) return;
                         client_.stream = *std::move(stream);
                         client_.stream->SetHandler(client_.recorder);
                       });
    ASSERT_TRUE(Until([&] { return server_.stream != nullptr && client_.stream != nullptr; }));
  }

  bool Until(absl::FunctionRef<bool()> done, absl::Duration timeout = absl::Hours(1)) {
    return network_.RunUntil(done, timeout);
  }

  // Sends `size` bytes of the pattern to the server, as fast as it takes them, and closes.
  void SendAll(size_t size) {
    auto sent = std::make_shared<size_t>(0);
    const auto send = [sent, size](Stream& stream) {
      while (*sent < size) {
        const size_t piece = std::min<size_t>(size - *sent, 10'000);
        const SendResult result = stream.Send(Pattern(*sent, piece));
        ASSERT_NE(result, SendResult::kRefused);
        *sent += piece;
        if (result == SendResult::kBlocked) return;
      }
      stream.Close();
    };
    client_.recorder.on_send_ready = send;
    client_.stream->SetLingerTimeout(absl::Hours(10));
    send(*client_.stream);
  }

  test::End server_, client_;
  SimulatedNetwork network_{1, {.trace = true}};
  SimulatedHost& server_host_ = network_.AddHost("server");
  SimulatedHost& client_host_ = network_.AddHost("client");
  std::unique_ptr<Listener> listener_;
  Connector connector_{client_host_.loop()};
  absl::Status connect_status_ = absl::UnknownError("no answer");
};

TEST_F(SimulatedPairTest, AnAnswerTakesTheLatencyThereAndBack) {
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(50)});
  const MonotonicTime start = network_.now();
  Connect();
  EXPECT_GE(network_.now() - start, absl::Milliseconds(100));
  EXPECT_LT(network_.now() - start, absl::Milliseconds(101));
  EXPECT_EQ(server_.stream->peer_address(), client_.stream->local_address());
  EXPECT_EQ(server_.stream->local_address(), server_host_.Address(9000));
  EXPECT_EQ(client_.stream->peer_address(), server_host_.Address(9000));
}

TEST_F(SimulatedPairTest, ATimeoutBeginsWhenAnEventEndsALongSleep) {
  Connect({.stream = {.idle_timeout = absl::InfiniteDuration()}});
  MonotonicTime armed, ran;
  Timer timer([&] { ran = network_.now(); });
  server_.recorder.on_receive = [&](Stream&, absl::Span<uint8_t>) {
    armed = network_.now();
    server_host_.loop().ArmTimer(timer, absl::Seconds(10));
  };
  network_.After(absl::Hours(1), [&] { client_.stream->Send("wake up"); });
  ASSERT_TRUE(Until([&] { return ran != MonotonicTime(); }, absl::Hours(2)));
  EXPECT_GE(ran - armed, absl::Seconds(10));
  EXPECT_LT(ran - armed, absl::Seconds(11));
}

TEST_F(SimulatedPairTest, AnAnswerAndCloseAfterALongSleepLinger) {
  network_.SetLink(server_host_, client_host_,
                   {.latency = absl::Milliseconds(50), .bytes_per_second = 1'000'000});
  Connect({.stream = {.idle_timeout = absl::InfiniteDuration()}});
  server_.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) {
    stream.Send(Pattern(0, 1'000'000));
    stream.Close();
  };
  network_.After(absl::Hours(1), [&] { client_.stream->Send("wake up"); });
  ASSERT_TRUE(Until([&] { return client_.recorder.closed; }, absl::Hours(2)));
  EXPECT_TRUE(client_.recorder.received == Pattern(0, 1'000'000))
      << client_.recorder.received.size() << " bytes, " << client_.recorder.close_status;
}

TEST_F(SimulatedPairTest, WhatWasReceivedAfterALongSleepIsNotIdle) {
  Connect({.stream = {.idle_timeout = absl::Minutes(10)}});
  // At 9 minutes it is active, so at 15 it lives, and at 19 it does not.
  network_.After(absl::Minutes(9), [&] { client_.stream->Send("still here"); });
  EXPECT_FALSE(Until([&] { return server_.recorder.closed; }, absl::Minutes(15)));
  EXPECT_TRUE(Until([&] { return server_.recorder.closed; }, absl::Minutes(5)));
}

TEST_F(SimulatedPairTest, BytesTakeTheTimeThatTheBandwidthSays) {
  network_.SetLink(server_host_, client_host_, {.bytes_per_second = 100'000});
  Connect();
  const MonotonicTime start = network_.now();
  SendAll(1'000'000);
  ASSERT_TRUE(Until([&] { return server_.recorder.closed; }));
  EXPECT_TRUE(server_.recorder.received == Pattern(0, 1'000'000));
  EXPECT_GE(network_.now() - start, absl::Seconds(10));
  EXPECT_LT(network_.now() - start, absl::Seconds(11));
}

TEST_F(SimulatedPairTest, LossPartitionsAndShortTransfersCostTimeAndNoByte) {
  network_.SetLink(server_host_, client_host_,
                   {.jitter = absl::Milliseconds(10),
                    .bytes_per_second = 100'000,
                    .loss = 0.1,
                    .partition_every = absl::Seconds(5),
                    .partition_for = absl::Seconds(5)});
  for (SimulatedHost* host : {&server_host_, &client_host_}) {
    host->set_options({.short_send = 0.5,
                       .short_receive = 0.5,
                       .stall_every = absl::Seconds(5),
                       .stall_for = absl::Seconds(5)});
  }
  Connect();
  SendAll(2'000'000);
  ASSERT_TRUE(Until([&] { return server_.recorder.closed && client_.recorder.closed; }))
      << network_.Describe();
  EXPECT_TRUE(server_.recorder.received == Pattern(0, 2'000'000));
  EXPECT_EQ(server_.recorder.Events(), "receive end close");
  EXPECT_TRUE(server_.recorder.close_status.ok()) << server_.recorder.close_status;
  for (const char* event : {"loses", "parted", "joined", "stalls", "resumes"})
    EXPECT_NE(network_.trace().find(event), std::string::npos) << event;
}

TEST_F(SimulatedPairTest, NothingPassesAPartitionUntilItHeals) {
  Connect();
  network_.Partition(server_host_, client_host_);
  client_.stream->Send("hello");
  network_.RunFor(absl::Minutes(4));
  EXPECT_EQ(server_.recorder.received, "");
  network_.Heal(server_host_, client_host_);
  ASSERT_TRUE(Until([&] { return server_.recorder.received == "hello"; }, absl::Seconds(3)));
}

TEST_F(SimulatedPairTest, BytesThatNeverGetThroughEndTheirConnection) {
  Connect({.stream = {}});
  network_.Partition(server_host_, client_host_);
  client_.stream->Send("hello");
  ASSERT_TRUE(Until([&] { return client_.recorder.closed; }));
  EXPECT_EQ(client_.recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(server_.recorder.closed) << "it knows of nothing";
  network_.Heal(server_host_, client_host_);
  server_.stream->Send("are you there?");
  ASSERT_TRUE(Until([&] { return server_.recorder.closed; }, absl::Seconds(3)));
  EXPECT_EQ(server_.recorder.close_status.code(), absl::StatusCode::kUnavailable);
}

// A peer that does not read, and whose window is exactly full: nothing is under way.
class FullWindowTest : public SimulatedPairTest {
 protected:
  static constexpr size_t kWindow = 4096;

  FullWindowTest() {
    server_host_.set_options({.receive_buffer_bytes = kWindow});
    Connect({.stream = {}});
    server_.stream->PauseReceiving();
    client_.stream->Send(Pattern(0, kWindow));
    network_.RunFor(absl::Seconds(1));
  }

  void SendMore() { client_.stream->Send(Pattern(kWindow, 1024)); }

  // How long it takes until the client is told.
  absl::Duration UntilTheClientCloses() {
    const MonotonicTime start = network_.now();
    EXPECT_TRUE(Until([&] { return client_.recorder.closed; }));
    return network_.now() - start;
  }

  void ExpectTimeout() {
    const absl::Duration took = UntilTheClientCloses();
    EXPECT_GE(took, absl::Minutes(15));
    EXPECT_LT(took, absl::Minutes(16));
    EXPECT_EQ(client_.recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
  }
};

TEST_F(FullWindowTest, IsNoReasonToGiveUp) {
  SendMore();
  network_.RunFor(absl::Hours(10));
  EXPECT_FALSE(client_.recorder.closed);
  server_.stream->ResumeReceiving();
  EXPECT_TRUE(Until([&] { return server_.recorder.received == Pattern(0, kWindow + 1024); }));
}

TEST_F(FullWindowTest, InAPartitionWhatIsSentTimesOut) {
  network_.Partition(server_host_, client_host_);
  SendMore();
  ExpectTimeout();
}

TEST_F(FullWindowTest, InAPartitionWhatWaitedBeforeTimesOut) {
  SendMore();
  network_.Partition(server_host_, client_host_);
  ExpectTimeout();
}

TEST_F(FullWindowTest, AfterAPartitionWhatWaitedGoesOn) {
  SendMore();
  network_.Partition(server_host_, client_host_);
  network_.RunFor(absl::Minutes(10));
  network_.Heal(server_host_, client_host_);
  network_.RunFor(absl::Minutes(10));
  EXPECT_FALSE(client_.recorder.closed) << "the ten minutes before do not count";
  server_.stream->ResumeReceiving();
  EXPECT_TRUE(Until([&] { return server_.recorder.received == Pattern(0, kWindow + 1024); }));
}

TEST_F(FullWindowTest, WhatIsReadInAPartitionIsToldWhenItEndsAndCostsNothingUntilThen) {
  network_.Partition(server_host_, client_host_);
  server_.stream->ResumeReceiving();
  int steps = 0;
  network_.RunUntil(
      [&] {
        ++steps;
        return false;
      },
      absl::Hours(1));
  EXPECT_EQ(server_.recorder.received.size(), kWindow);
  EXPECT_LT(steps, 100);
  network_.Heal(server_host_, client_host_);
  SendMore();
  EXPECT_TRUE(Until([&] { return server_.recorder.received == Pattern(0, kWindow + 1024); },
                    absl::Seconds(1)));
}

TEST_F(FullWindowTest, OfAMachineThatIsGoneWhatIsSentTimesOut) {
  server_host_.CrashNow(SimulatedHost::Crash::kMachine);
  SendMore();
  ExpectTimeout();
}

TEST_F(FullWindowTest, OfAMachineThatIsGoneWhatWaitedBeforeTimesOut) {
  SendMore();
  network_.RunFor(absl::Seconds(1));
  server_host_.CrashNow(SimulatedHost::Crash::kMachine);
  ExpectTimeout();
}

TEST_F(FullWindowTest, OfAMachineThatIsGoneIsResetByItsSuccessor) {
  server_host_.CrashNow(SimulatedHost::Crash::kMachine);
  SendMore();
  network_.RunFor(absl::Minutes(1));
  network_.AddHost("server");
  EXPECT_LT(UntilTheClientCloses(), absl::Seconds(3));
  EXPECT_EQ(client_.recorder.close_status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(SimulatedPairTest, WhereEachTransferIsShortAllArriveStill) {
  for (SimulatedHost* host : {&server_host_, &client_host_})
    host->set_options({.short_send = 1, .short_receive = 1});
  Connect();
  SendAll(100'000);
  ASSERT_TRUE(Until([&] { return server_.recorder.closed; }, absl::Seconds(1)));
  EXPECT_TRUE(server_.recorder.received == Pattern(0, 100'000));
}

TEST_F(SimulatedPairTest, APeerThatStallsHoldsItsSenderBack) {
  Connect();
  server_host_.Stall();
  const size_t sent = test::SendUntilBlocked(*client_.stream);
  network_.RunFor(absl::Minutes(4));
  EXPECT_EQ(server_.recorder.received, "");
  EXPECT_GT(client_.stream->queued_bytes(), 0u);
  server_host_.Resume();
  ASSERT_TRUE(Until([&] { return server_.recorder.received.size() == sent; }));
  EXPECT_EQ(client_.recorder.readies, 1);
}

TEST_F(SimulatedPairTest, AProcessThatDiesResetsItsConnectionsAndRefusesNewOnes) {
  Connect();
  server_host_.CrashNow(SimulatedHost::Crash::kProcess);
  ASSERT_TRUE(Until([&] { return client_.recorder.closed; }, absl::Seconds(1)));
  EXPECT_EQ(client_.recorder.close_status.code(), absl::StatusCode::kUnavailable);
  absl::Status status;
  connector_.Connect(server_host_.Address(9000), {}, [&](auto s) { status = s.status(); });
  ASSERT_TRUE(Until([&] { return !status.ok(); }, absl::Seconds(1)));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(server_.recorder.closed) << "the dead hear nothing";
  listener_ = nullptr;
  server_.stream = nullptr;
  EXPECT_EQ(network_.connections(), 0u);
}

TEST_F(SimulatedPairTest, AMachineThatIsGoneIsSilentAndItsSuccessorResets) {
  Connect();
  server_host_.CrashNow(SimulatedHost::Crash::kMachine);
  client_.stream->Send("hello");
  absl::Status status;
  connector_.Connect(server_host_.Address(9000), {}, [&](auto s) { status = s.status(); });
  network_.RunFor(absl::Minutes(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(client_.recorder.closed);
  SimulatedHost& successor = network_.AddHost("server");
  EXPECT_EQ(successor.Address(9000), server_host_.Address(9000));
  ASSERT_TRUE(Until([&] { return client_.recorder.closed; }, absl::Seconds(3)));
  EXPECT_EQ(client_.recorder.close_status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(SimulatedPairTest, AMachineThatIsGoneSendsNoEnd) {
  Connect();
  client_host_.Stall();
  // More than the client's system takes, so that some of it has not left, and an end behind it.
  server_.stream->Send(Pattern(0, 500'000));
  server_.stream->Close();
  network_.RunFor(absl::Seconds(1));
  server_host_.CrashNow(SimulatedHost::Crash::kMachine);
  client_host_.Resume();
  network_.RunFor(absl::Minutes(4));
  EXPECT_LT(client_.recorder.received.size(), 500'000u);
  EXPECT_EQ(client_.recorder.Events(), "receive") << "what is cut short must not look whole";
}

TEST_F(SimulatedPairTest, AConnectOnItsWayToAMachineThatGoesReachesItsSuccessor) {
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(50)});
  absl::StatusOr<std::unique_ptr<Stream>> connected = absl::UnknownError("no answer");
  connector_.Connect(server_host_.Address(9000), {}, [&](auto s) { connected = std::move(s); });
  network_.RunFor(absl::Milliseconds(10));
  server_host_.CrashNow(SimulatedHost::Crash::kMachine);
  SimulatedHost& successor = network_.AddHost("server");
  listener_ = *Listener::Listen(successor.loop(), successor.Address(9000), {}, [&](auto stream) {
    server_.stream = std::move(stream);
    server_.stream->SetHandler(server_.recorder);
  });
  const MonotonicTime start = network_.now();
  ASSERT_TRUE(Until([&] { return server_.stream != nullptr && connected.ok(); }));
  EXPECT_GE(network_.now() - start, absl::Milliseconds(90)) << "it has the links, too";
  (*connected)->SetHandler(client_.recorder);
  (*connected)->Send("hello");
  EXPECT_TRUE(Until([&] { return server_.recorder.received == "hello"; }, absl::Seconds(1)));
  EXPECT_FALSE(client_.recorder.closed);
  *connected = nullptr;
}

TEST_F(SimulatedPairTest, OneListensOnAddressesOfTheHostOnly) {
  const auto listen = [&](const SocketAddress& address) {
    return Listener::Listen(server_host_.loop(), address, {}, [](auto) {}).status();
  };
  EXPECT_TRUE(listen(server_host_.Address(1)).ok());
  EXPECT_TRUE(listen(*SocketAddress::Parse("[::]:0")).ok());
  const absl::Status status = listen(client_host_.Address(1));
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find(client_host_.Address(1).ToString()), std::string::npos) << status;
}

TEST(SimulationTest, AHostHasSixteenThousandPortsToGiveAway) {
  SimulatedNetwork network(1);
  SimulatedHost& host = network.AddHost("host");
  std::vector<std::unique_ptr<Listener>> listeners;
  const auto listen = [&] {
    return Listener::Listen(host.loop(), host.Address(0), {}, [](auto) {});
  };
  for (int i = 0; i < 16'384; ++i) listeners.push_back(*listen());
  EXPECT_EQ(listen().status().code(), absl::StatusCode::kAlreadyExists);
  const SocketAddress given_back = listeners[5'000]->address();
  listeners[5'000] = nullptr;
  EXPECT_EQ((*listen())->address(), given_back);
}

TEST(SimulationTest, OptionsThatAreReplacedStallNoMore) {
  SimulatedNetwork network(1, {.trace = true});
  SimulatedHost& host = network.AddHost("host");
  for (int i = 0; i < 10; ++i) {
    host.set_options({});
    host.set_options({.stall_every = absl::Minutes(1), .stall_for = absl::Seconds(1)});
  }
  network.RunFor(absl::Hours(1));
  size_t stalls = 0;
  for (size_t at = 0; (at = network.trace().find("host stalls", at)) != std::string::npos; ++at)
    ++stalls;
  EXPECT_GT(stalls, 40u);
  EXPECT_LT(stalls, 80u);
}

TEST(SimulationTest, WhatAfterRunsIsInNoTurn) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimulatedNetwork network(seed);
    // Two loops that have something to do all the time.
    SimulatedHost& host = network.AddHost("host");
    SimulatedHost& other = network.AddHost("other");
    int turns = 0;
    Timer busy([&] {
      ++turns;
      host.loop().ArmTimer(busy, absl::ZeroDuration());
    });
    Timer other_busy([&] { other.loop().ArmTimer(other_busy, absl::ZeroDuration()); });
    host.loop().ArmTimer(busy, absl::ZeroDuration());
    other.loop().ArmTimer(other_busy, absl::ZeroDuration());
    int turns_at_crash = 0;
    network.After(absl::Microseconds(10'001), [&] {
      host.CrashNow(SimulatedHost::Crash::kProcess);
      turns_at_crash = turns;
    });
    network.RunFor(absl::Milliseconds(20));
    EXPECT_GT(turns_at_crash, 1);
    EXPECT_EQ(turns, turns_at_crash) << "seed " << seed;
  }
}

TEST(SimulationDeathTest, AHostDoesNotCrashInsideItsOwnTurn) {
  SimulatedNetwork network(1);
  SimulatedHost& host = network.AddHost("host");
  host.loop().Post([&] { host.CrashNow(SimulatedHost::Crash::kProcess); });
  EXPECT_DEATH(network.RunFor(absl::Seconds(1)), "check failed");
}

TEST(SimulationDeathTest, AHostWhoseLoopItsOwnerRunsDoesNotCrash) {
  SimulatedNetwork network(1);
  SimulatedHost& host = network.AddHost("host");
  SimulatedHost& other = network.AddHost("other");
  const auto crash = [](SimulatedHost& h) { h.CrashNow(SimulatedHost::Crash::kProcess); };
  const auto run = [&] { host.loop().RunUntil([] { return false; }, absl::Seconds(1)); };
  network.After(absl::Milliseconds(500), [&] { crash(other); });
  run();
  EXPECT_DEATH(crash(host), "check failed") << "nobody knows whether it runs just now";
  network.After(absl::Milliseconds(500), [&] { crash(host); });
  EXPECT_DEATH(run(), "check failed");
  EXPECT_DEATH(other.loop().RunOnce(absl::ZeroDuration()), "check failed") << "it is dead";
}

TEST(SimulationDeathTest, AHostDoesNotCrashInATurnThatItsOwnerRuns) {
  SimulatedNetwork network(1);
  SimulatedHost& host = network.AddHost("host");
  host.loop().Post([&] { host.CrashNow(SimulatedHost::Crash::kProcess); });
  EXPECT_DEATH(host.loop().RunOnce(absl::ZeroDuration()), "check failed");
}

TEST(SimulationDeathTest, AHostWithAnEngineThatItsOwnerRunsDoesNotCrash) {
  SimulatedNetwork network(1);
  SimulatedHost& host = network.AddHost("host");
  EventLoop loop(host.NewPoller());
  loop.RunOnce(absl::ZeroDuration());
  EXPECT_DEATH(host.CrashNow(SimulatedHost::Crash::kMachine), "check failed");
}

TEST_F(SimulatedPairTest, TheNetworkMayResetAConnection) {
  Connect();
  network_.ResetConnections(client_host_, server_host_);
  ASSERT_TRUE(Until([&] { return client_.recorder.closed && server_.recorder.closed; }));
  EXPECT_EQ(client_.recorder.Events(), "close");
  EXPECT_EQ(server_.recorder.Events(), "close");
  EXPECT_EQ(server_.recorder.close_status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(network_.connections(), 0u);
}

TEST_F(SimulatedPairTest, AResetBySeedLeavesAPrefix) {
  network_.SetLink(server_host_, client_host_, {.reset = 0.02});
  Connect();
  std::string sent;
  client_.recorder.on_send_ready = [](Stream&) {};
  while (!client_.recorder.closed) {
    const std::string piece = Pattern(sent.size(), 5000);
    client_.stream->Send(piece);
    sent += piece;
    network_.RunFor(absl::Milliseconds(1));
  }
  ASSERT_TRUE(Until([&] { return server_.recorder.closed; }));
  EXPECT_TRUE(sent.compare(0, server_.recorder.received.size(), server_.recorder.received) == 0);
}

TEST_F(SimulatedPairTest, AConnectIsRefusedOrIgnoredWhenTheLinkSaysSo) {
  const auto outcome = [&](const SimulatedLink& link) {
    network_.SetLink(server_host_, client_host_, link);
    absl::Status status;
    bool called = false;
    connector_.Connect(server_host_.Address(9000), {.timeout = absl::Minutes(5)}, [&](auto s) {
      status = s.status();
      called = true;
    });
    const MonotonicTime start = network_.now();
    EXPECT_TRUE(Until([&] { return called; }));
    return std::pair(status.code(), network_.now() - start);
  };
  std::vector<std::unique_ptr<Stream>> accepted;
  listener_ = *Listener::Listen(server_host_.loop(), server_host_.Address(9000), {},
                                [&](auto stream) { accepted.push_back(std::move(stream)); });
  EXPECT_EQ(outcome({}).first, absl::StatusCode::kOk);
  EXPECT_EQ(outcome({.refuse = 1}).first, absl::StatusCode::kUnavailable);
  const auto [code, took] = outcome({.ignore = 1});
  EXPECT_EQ(code, absl::StatusCode::kDeadlineExceeded);
  EXPECT_GT(took, absl::Minutes(2));
  EXPECT_LT(took, absl::Minutes(3));
}

TEST_F(SimulatedPairTest, AnAddressWithoutAHostIsUnreachable) {
  absl::Status status;
  connector_.Connect(*SocketAddress::Parse("192.0.2.1:80"), {},
                     [&](auto s) { status = s.status(); });
  ASSERT_TRUE(Until([&] { return !status.ok(); }));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(SimulatedPairTest, WithoutDescriptorsAListenerShedsAndRecovers) {
  server_host_.set_options({.descriptors = 2});  // the listener's, and one
  Connect();
  test::Recorder second;
  std::unique_ptr<Stream> stream;
  const auto connect = [&] {
    connector_.Connect(server_host_.Address(9000), {}, [&](auto s) {
      ASSERT_TRUE(s.ok()) << s.status();
      second.closed = false;
      stream = *std::move(s);
      stream->SetHandler(second);
    });
  };
  connect();
  ASSERT_TRUE(Until([&] { return second.closed; }));
  EXPECT_EQ(listener_->counters().shed, 1u);
  EXPECT_EQ(server_host_.descriptors(), 2);
  client_.stream->Close();
  ASSERT_TRUE(Until([&] { return server_.recorder.closed; }));
  server_.stream = nullptr;
  server_.recorder.closed = false;
  connect();
  ASSERT_TRUE(Until([&] { return server_.stream != nullptr; }));
  EXPECT_EQ(listener_->counters().accepted, 2u);
}

TEST_F(SimulatedPairTest, AHostWithoutDescriptorsCannotConnect) {
  client_host_.set_options({.descriptors = 0});
  absl::Status status;
  connector_.Connect(server_host_.Address(9000), {}, [&](auto s) { status = s.status(); });
  ASSERT_TRUE(Until([&] { return !status.ok(); }));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(SimulatedPairTest, WhatWasLentIsOverwritten) {
  Connect();
  absl::Span<uint8_t> kept;
  server_.recorder.on_receive = [&](Stream&, absl::Span<uint8_t> bytes) { kept = bytes; };
  client_.stream->Send("hello");
  ASSERT_TRUE(Until([&] { return server_.recorder.received == "hello"; }));
  EXPECT_EQ(std::string(kept.begin(), kept.end()), "\xdb\xdb\xdb\xdb\xdb");
}

TEST_F(SimulatedPairTest, ALoopThatRunsByItselfRunsTheOthersWhileItWaits) {
  Connect();
  server_.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t> bytes) {
    stream.SendLent(bytes);
  };
  client_.stream->Send("hello");
  EXPECT_TRUE(
      test::Until(client_host_.loop(), [&] { return client_.recorder.received == "hello"; }));
}

TEST(SimulationTest, AUnixListenerLeavesARealFileOfItsNameAlone) {
  const test::ShortTempDir directory;
  const SocketAddress address = directory.Socket("s");
  std::ofstream(address.path()) << "precious";
  SimulatedNetwork network(1);
  SimulatedHost& host = network.AddHost("host");
  std::unique_ptr<Stream> accepted;
  auto listener = Listener::Listen(host.loop(), address, {},
                                   [&](auto stream) { accepted = std::move(stream); });
  ASSERT_TRUE(listener.ok()) << "no file is in the way: " << listener.status();
  Connector connector(host.loop());
  connector.Connect(address, {}, [](auto stream) { ASSERT_TRUE(stream.ok()) << stream.status(); });
  ASSERT_TRUE(network.RunUntil([&] { return accepted != nullptr; }, absl::Seconds(1)));
  *listener = nullptr;
  std::string content;
  std::ifstream(address.path()) >> content;
  EXPECT_EQ(content, "precious");
  EXPECT_EQ(std::remove(address.path().c_str()), 0);
}

TEST(SimulationTest, SegmentsOfTwoConnectionsOvertakeOneAnother) {
  SimulatedNetwork network(3);
  SimulatedHost& server = network.AddHost("server");
  SimulatedHost& client = network.AddHost("client");
  network.SetLink(server, client, {.jitter = absl::Milliseconds(50)});
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<Connector>> connectors;
  std::string order;
  test::Recorder recorder;
  recorder.on_receive = [&](Stream&, absl::Span<uint8_t> bytes) {
    order += static_cast<char>(bytes[0]);
  };
  auto listener = *Listener::Listen(server.loop(), server.Address(1), {}, [&](auto stream) {
    streams.push_back(std::move(stream));
    streams.back()->SetHandler(recorder);
  });
  test::Recorder clients[10];
  for (int i = 0; i < 10; ++i) {
    connectors.push_back(std::make_unique<Connector>(client.loop()));
    connectors.back()->Connect(server.Address(1), {}, [&, i](auto stream) {
      streams.push_back(*std::move(stream));
      streams.back()->SetHandler(clients[i]);
    });
  }
  ASSERT_TRUE(network.RunUntil([&] { return streams.size() == 20; }, absl::Seconds(10)));
  char next = 'a';
  for (const auto& stream : streams) {
    if (stream->peer_address() != server.Address(1)) continue;
    stream->Send(std::string(1, next++));
  }
  ASSERT_TRUE(network.RunUntil([&] { return order.size() == 10; }, absl::Seconds(10)));
  EXPECT_NE(order, "abcdefghij");
}

// Says something every five to ten seconds.
class Chatter final : public StreamHandler {
 public:
  Chatter(SimulatedNetwork& network, SimulatedHost& host, const SocketAddress& server)
      : network_(network), host_(host), connector_(host.loop()), timer_([this] { Say(); }) {
    connector_.Connect(server, {}, [this](auto stream) {
      stream_ = *std::move(stream);
      stream_->SetHandler(*this);
      Say();
    });
  }
  uint64_t received() const { return received_; }

 private:
  void Say() {
    stream_->Send(Pattern(0, 1 + network_.Random(1000)));
    host_.loop().ArmTimer(timer_, absl::Milliseconds(5'000 + network_.Random(5'000)));
  }
  void OnReceive(Stream&, absl::Span<uint8_t> bytes) override { received_ += bytes.size(); }

  SimulatedNetwork& network_;
  SimulatedHost& host_;
  Connector connector_;
  Timer timer_;
  std::unique_ptr<Stream> stream_;
  uint64_t received_ = 0;
};

struct Result {
  std::string trace;
  uint64_t received = 0;
};

Result RunChatters(uint64_t seed, size_t count, absl::Duration time) {
  Echo echo;
  SimulatedNetwork network(seed, {.link = {.jitter = absl::Milliseconds(20), .loss = 0.01},
                                  .host = {.short_send = 0.1, .short_receive = 0.1},
                                  .trace = count < 100});
  SimulatedHost& server = network.AddHost("server");
  auto listener = *Listener::Listen(server.loop(), server.Address(1), {},
                                    [&](auto stream) { Stream::Run(std::move(stream), echo); });
  std::vector<std::unique_ptr<Chatter>> chatters;
  std::vector<SimulatedHost*> hosts;
  for (int i = 0; i < 10; ++i) hosts.push_back(&network.AddHost(absl::StrCat("client", i)));
  for (size_t i = 0; i < count; ++i)
    chatters.push_back(std::make_unique<Chatter>(network, *hosts[i % 10], server.Address(1)));
  network.RunFor(time);
  Result result{network.trace(), 0};
  for (const auto& chatter : chatters) result.received += chatter->received();
  return result;
}

TEST(SimulationTest, ASeedIsARunByteForByte) {
  const Result first = RunChatters(5, 3, absl::Minutes(1));
  EXPECT_GT(first.trace.size(), 1000u);
  EXPECT_TRUE(RunChatters(5, 3, absl::Minutes(1)).trace == first.trace);
  EXPECT_FALSE(RunChatters(6, 3, absl::Minutes(1)).trace == first.trace);
}

TEST(SimulationTest, AnHourWithAHundredConnectionsIsSoonOver) {
  // 480 messages of 500 bytes from each, there and back, on average.
  EXPECT_GT(RunChatters(7, 100, absl::Hours(1)).received, 20'000'000u);
}

}  // namespace
}  // namespace sluice
