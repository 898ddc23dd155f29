#include "sluice/tools/relay_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/proxy/proxy_protocol.h"
#include "sluice/tools/stream_server.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

// A server that keeps what comes.
class Backend {
 public:
  Backend(SimulatedNetwork& network, absl::string_view address) : host(network.AddHost(address)) {
    Listen();
  }
  void Listen() {
    listener = *Listener::Listen(
        host.loop(), host.Address(80), {}, [this](std::unique_ptr<Stream> stream) {
          accepted.push_back(std::make_unique<StreamRecorder>(std::move(stream)));
          if (keep_open) accepted.back()->KeepOpen();
        });
  }
  StreamRecorder& last() { return *accepted.back(); }

  SimulatedHost& host;
  bool keep_open = false;
  std::vector<std::unique_ptr<StreamRecorder>> accepted;
  std::unique_ptr<Listener> listener;
};

// Clients, a relay and backends on a simulated network.
class RelayServiceTest : public testing::Test {
 protected:
  ~RelayServiceTest() override {
    listener_.reset();
    if (service_ != nullptr) service_->OnEnd();
    clients_.clear();
  }

  Backend& AddBackend(absl::string_view address) {
    backends_.push_back(std::make_unique<Backend>(network_, address));
    options_.backends.push_back({.name = std::string(address),
                                 .endpoint = {.host = std::string(address), .port = 80},
                                 .dialer = std::make_shared<DirectDialer>()});
    return *backends_.back();
  }

  void Start() {
    options_.on_trouble = [this](const absl::Status& status) { troubles_.push_back(status); };
    service_ = std::make_unique<RelayService>(options_);
    service_->OnStart(relay_.loop());
    listener_ = *Listener::Listen(relay_.loop(), relay_.Address(9000), {},
                                  [this](std::unique_ptr<Stream> stream) {
                                    service_->Serve({std::move(stream), header_});
                                  });
  }

  // Runs until there is nothing more to do for now.
  void Run(absl::Duration time = absl::Milliseconds(5)) { network_.RunFor(time); }

  StreamRecorder& Connect() {
    Connector connector(client_.loop());
    connector.Connect(relay_.Address(9000), {}, [this](absl::StatusOr<std::unique_ptr<Stream>> s) {
      clients_.push_back(std::make_unique<StreamRecorder>(*std::move(s)));
      clients_.back()->KeepOpen();
    });
    const size_t before = clients_.size();
    EXPECT_TRUE(network_.RunUntil([&] { return clients_.size() > before; }, absl::Seconds(1)));
    return *clients_.back();
  }
  // And sends, which the backend then has.
  StreamRecorder& Send(absl::string_view text) {
    StreamRecorder& client = Connect();
    client.stream().Send(text);
    Run();
    return client;
  }

  SimulatedNetwork network_{1};
  SimulatedHost& relay_ = network_.AddHost("10.0.0.1");
  SimulatedHost& client_ = network_.AddHost("10.0.0.2");
  RelayOptions options_;
  proxy::ProxyHeader header_;
  std::vector<absl::Status> troubles_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<std::unique_ptr<StreamRecorder>> clients_;
  std::unique_ptr<RelayService> service_;
  std::unique_ptr<Listener> listener_;
};

TEST_F(RelayServiceTest, BytesGoBothWaysUntilBothHaveEnded) {
  Backend& backend = AddBackend("10.0.1.1");
  backend.keep_open = true;
  Start();
  StreamRecorder& client = Send("hello");
  EXPECT_EQ(backend.last().received(), "hello");
  backend.last().stream().Send("good day");
  Run();
  EXPECT_EQ(client.received(), "good day");

  client.stream().ShutdownSend();
  Run();
  EXPECT_TRUE(backend.last().ended());
  EXPECT_FALSE(client.ended());
  backend.last().stream().Send(", and good bye");
  backend.last().stream().ShutdownSend();
  Run();
  EXPECT_EQ(client.received(), "good day, and good bye");
  EXPECT_TRUE(client.ended());

  const RelayTotals totals = service_->totals();
  EXPECT_EQ(totals.connections, 1u);
  EXPECT_EQ(totals.errors, 0u);
  EXPECT_EQ(totals.backends[0].open, 0u);
  EXPECT_EQ(totals.backends[0].total, 1u);
  EXPECT_EQ(totals.backends[0].bytes_up, 5u);
  EXPECT_EQ(totals.backends[0].bytes_down, 22u);
  EXPECT_TRUE(troubles_.empty());
}

TEST_F(RelayServiceTest, CountersSayWhatHasPassedSoFar) {
  AddBackend("10.0.1.1");
  Start();
  Send("hello");
  EXPECT_EQ(service_->totals().backends[0].open, 1u);
  EXPECT_EQ(service_->totals().backends[0].bytes_up, 5u);
}

TEST_F(RelayServiceTest, WhatIsSentBeforeThereIsABackendIsNotLost) {
  Backend& backend = AddBackend("10.0.1.1");
  network_.SetLink(relay_, backend.host, {.latency = absl::Milliseconds(100)});
  Start();
  StreamRecorder& client = Send("early");
  client.stream().ShutdownSend();
  EXPECT_TRUE(backend.accepted.empty());
  Run(absl::Seconds(1));
  EXPECT_EQ(backend.last().received(), "early");
  EXPECT_TRUE(backend.last().ended());
}

TEST_F(RelayServiceTest, TheBackendWithTheFewestConnectionsIsNext) {
  Backend& one = AddBackend("10.0.1.1");
  Backend& two = AddBackend("10.0.1.2");
  Start();
  for (int i = 0; i < 4; ++i) Send("x");
  EXPECT_EQ(one.accepted.size(), 2u);
  EXPECT_EQ(two.accepted.size(), 2u);
  clients_[0]->stream().Close();
  clients_[2]->stream().Close();
  Run();
  for (int i = 0; i < 2; ++i) Send("x");
  EXPECT_EQ(one.accepted.size(), 4u);
}

TEST_F(RelayServiceTest, ABackendThatRefusesIsPassedOver) {
  Backend& gone = AddBackend("10.0.1.1");
  Backend& there = AddBackend("10.0.1.2");
  gone.listener.reset();
  Start();
  for (int i = 0; i < 10; ++i) Send("hello");
  EXPECT_EQ(there.accepted.size(), 10u);
  EXPECT_EQ(there.last().received(), "hello");
  const RelayTotals totals = service_->totals();
  EXPECT_EQ(totals.errors, 0u);
  // After three times it was left out.
  EXPECT_EQ(totals.backends[0].failed, 3u);
  EXPECT_TRUE(totals.backends[0].is_out);
  ASSERT_EQ(troubles_.size(), 3u);
  EXPECT_THAT(std::string(troubles_[0].message()), HasSubstr("10.0.1.1:80"));
}

TEST_F(RelayServiceTest, ABackendThatIsBackIsUsedAgain) {
  Backend& flapping = AddBackend("10.0.1.1");
  AddBackend("10.0.1.2");
  flapping.listener.reset();
  Start();
  for (int i = 0; i < 10; ++i) Send("x");
  flapping.Listen();
  Run(absl::Seconds(1));
  for (int i = 0; i < 5; ++i) Send("x");
  EXPECT_EQ(flapping.accepted.size(), 5u);
  EXPECT_FALSE(service_->totals().backends[0].is_out);
}

TEST_F(RelayServiceTest, ABackendThatDoesNotAnswerLeavesTimeForTheOthers) {
  Backend& silent = AddBackend("10.0.1.1");
  Backend& there = AddBackend("10.0.1.2");
  network_.SetLink(relay_, silent.host, {.ignore = 1});
  options_.connect_timeout = absl::Seconds(10);
  Start();
  Send("hello");
  Run(absl::Seconds(4));
  EXPECT_TRUE(there.accepted.empty());
  Run(absl::Seconds(2));
  ASSERT_EQ(there.accepted.size(), 1u);
  EXPECT_EQ(there.last().received(), "hello");
  EXPECT_EQ(troubles_[0].code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(RelayServiceTest, WithoutABackendTheClientIsCut) {
  AddBackend("10.0.1.1").listener.reset();
  AddBackend("10.0.1.2").listener.reset();
  Start();
  for (int i = 0; i < 5; ++i) {
    StreamRecorder& client = Send("hello");
    ASSERT_TRUE(client.closed().has_value());
    EXPECT_EQ(client.closed()->code(), absl::StatusCode::kUnavailable);
  }
  // Also those that were out have been tried.
  const RelayTotals totals = service_->totals();
  EXPECT_EQ(totals.errors, 5u);
  EXPECT_EQ(totals.backends[0].failed, 5u);
  EXPECT_EQ(totals.backends[1].failed, 5u);
}

TEST_F(RelayServiceTest, WithoutDescriptorsNoBackendIsBlamed) {
  AddBackend("10.0.1.1");
  Start();
  relay_.set_options({.descriptors = 2});  // for who listens, and for a client
  StreamRecorder& client = Send("hello");
  EXPECT_TRUE(client.closed().has_value());
  RelayTotals totals = service_->totals();
  EXPECT_EQ(totals.errors, 1u);
  EXPECT_EQ(totals.backends[0].failed, 0u);
  EXPECT_EQ(totals.backends[0].open, 0u);
  ASSERT_EQ(troubles_.size(), 1u);
  EXPECT_EQ(troubles_[0].code(), absl::StatusCode::kResourceExhausted);
  relay_.set_options({});
  Send("hello");
  EXPECT_EQ(service_->totals().backends[0].bytes_up, 5u);
}

TEST_F(RelayServiceTest, ForAClientThatIsGoneNoBackendIsWaitedFor) {
  network_.SetLink(relay_, AddBackend("10.0.1.1").host, {.ignore = 1});
  Start();
  StreamRecorder& client = Send("hello");
  EXPECT_EQ(service_->totals().backends[0].open, 1u);
  client.Destroy();
  Run();
  const RelayTotals totals = service_->totals();
  EXPECT_EQ(totals.errors, 1u);
  EXPECT_EQ(totals.backends[0].open, 0u);
  EXPECT_EQ(totals.backends[0].failed, 0u);
}

TEST_F(RelayServiceTest, TheDeadlineIsOneForAllTries) {
  for (const absl::string_view address : {"10.0.1.1", "10.0.1.2", "10.0.1.3"}) {
    network_.SetLink(relay_, AddBackend(address).host, {.ignore = 1});
  }
  options_.connect_timeout = absl::Seconds(3);
  Start();
  StreamRecorder& client = Send("hello");
  Run(absl::Milliseconds(2900));
  EXPECT_FALSE(client.closed().has_value());
  Run(absl::Milliseconds(200));
  EXPECT_TRUE(client.closed().has_value());
}

TEST_F(RelayServiceTest, ABackendsResetIsAnError) {
  Backend& backend = AddBackend("10.0.1.1");
  Start();
  StreamRecorder& client = Send("hello");
  backend.last().Destroy();
  Run();
  EXPECT_FALSE(client.closed()->ok());
  EXPECT_EQ(service_->totals().errors, 1u);
  EXPECT_EQ(troubles_.size(), 1u);
}

TEST_F(RelayServiceTest, AClientsResetReachesTheBackend) {
  Backend& backend = AddBackend("10.0.1.1");
  Start();
  Send("hello").Destroy();
  Run();
  EXPECT_FALSE(backend.last().closed()->ok());
  EXPECT_EQ(service_->totals().errors, 1u);
  EXPECT_TRUE(troubles_.empty());  // it is no trouble with a backend
}

TEST_F(RelayServiceTest, TheHeaderComesFirst) {
  Backend& backend = AddBackend("10.0.1.1");
  options_.header = proxy::ProxyHeader::Version::k1;
  Start();
  StreamRecorder& client = Send("hello");
  EXPECT_EQ(backend.last().received(),
            absl::StrCat("PROXY TCP4 10.0.0.2 10.0.0.1 ", client.stream().local_address().port(),
                         " 9000\r\nhello"));
  // And is not the client's.
  EXPECT_EQ(service_->totals().backends[0].bytes_up, 5u);
}

TEST_F(RelayServiceTest, WhomAProxySpokeForIsPassedOn) {
  Backend& backend = AddBackend("10.0.1.1");
  header_.source = *SocketAddress::Parse("[2001:db8::1]:5");
  header_.destination = *SocketAddress::Parse("[2001:db8::2]:443");
  options_.header = proxy::ProxyHeader::Version::k2;
  Start();
  Send("hello");
  header_.values.clear();
  EXPECT_EQ(backend.last().received(), *proxy::WriteProxyHeader(header_) + "hello");
}

TEST_F(RelayServiceTest, ConnectionsInReserveAreUsedFirst) {
  Backend& backend = AddBackend("10.0.1.1");
  options_.pool_idle = 2;
  options_.header = proxy::ProxyHeader::Version::k1;
  Start();
  Run();
  EXPECT_EQ(backend.accepted.size(), 2u);
  // Now nobody could connect, and that is not needed.
  backend.listener.reset();
  for (int i = 0; i < 2; ++i) Send("hello");
  for (const auto& accepted : backend.accepted) {
    EXPECT_THAT(accepted->received(), testing::StartsWith("PROXY TCP4 10.0.0.2 10.0.0.1 "));
    EXPECT_THAT(accepted->received(), testing::EndsWith(" 9000\r\nhello"));
  }
  EXPECT_EQ(service_->totals().backends[0].open, 2u);
  EXPECT_EQ(service_->totals().backends[0].failed, 0u);
  // And they are replaced.
  backend.Listen();
  Run(absl::Seconds(30));
  EXPECT_EQ(backend.accepted.size(), 4u);
}

TEST_F(RelayServiceTest, WithoutAReserveOneIsConnected) {
  Backend& backend = AddBackend("10.0.1.1");
  options_.pool_idle = 1;
  Start();
  Connect();
  Connect();
  Connect();
  Run();
  EXPECT_EQ(service_->totals().backends[0].open, 3u);
  EXPECT_EQ(backend.accepted.size(), 4u);
}

TEST_F(RelayServiceTest, ASlowReaderHoldsTheSenderBack) {
  Backend& backend = AddBackend("10.0.1.1");
  Start();
  StreamRecorder& client = Connect();
  Run();
  client.stream().PauseReceiving();
  const std::string sent(4 << 20, 'x');
  backend.last().stream().Send(Slice::Copy(sent));
  Run(absl::Seconds(5));
  // The sockets' buffers are full, and what the relay holds has its bound.
  EXPECT_LT(service_->totals().backends[0].bytes_down, 2u << 20);
  client.stream().ResumeReceiving();
  Run(absl::Seconds(5));
  EXPECT_TRUE(client.received() == sent);
}

// All of it is in the system's hands at once, and nothing else happens.
TEST_F(RelayServiceTest, AClientThatTakesWhatTheSystemHoldsIsNotIdle) {
  Backend& backend = AddBackend("10.0.1.1");
  options_.forwarder.idle_timeout = absl::Seconds(20);
  relay_.set_options({.send_buffer_bytes = 4 << 20});
  network_.SetLink(relay_, client_, {.bytes_per_second = 10'000});
  Start();
  StreamRecorder& client = Connect();
  Run();
  const std::string sent(1'000'000, 'x');
  backend.last().stream().Send(Slice::Copy(sent));
  Run(absl::Seconds(110));
  EXPECT_TRUE(client.received() == sent) << client.received().size();
  EXPECT_FALSE(client.closed().has_value());
  // But now it is.
  Run(absl::Seconds(20));
  EXPECT_TRUE(client.closed().has_value());
  EXPECT_EQ(service_->totals().errors, 1u);
}

TEST_F(RelayServiceTest, ADrainLetsThemFinish) {
  Backend& backend = AddBackend("10.0.1.1");
  options_.forwarder.drain_quiet = absl::Seconds(5);
  Start();
  StreamRecorder& client = Send("question");
  listener_.reset();
  bool drained = false;
  relay_.loop().Drain(absl::Seconds(60), [&] { drained = true; });
  Run(absl::Seconds(3));
  EXPECT_FALSE(drained);
  backend.last().stream().Send("answer");
  Run(absl::Seconds(3));
  EXPECT_EQ(client.received(), "answer");
  EXPECT_FALSE(drained);
  // And ends them when nothing has moved for five seconds, or for ten at most.
  Run(absl::Seconds(12));
  EXPECT_TRUE(drained);
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(service_->totals().errors, 0u);
}

TEST_F(RelayServiceTest, ADrainGivesUpTries) {
  Backend& silent = AddBackend("10.0.1.1");
  Backend& other = AddBackend("10.0.1.2");
  network_.SetLink(relay_, silent.host, {.ignore = 1});
  Start();
  StreamRecorder& client = Send("hello");
  listener_.reset();
  bool drained = false;
  relay_.loop().Drain(absl::Seconds(60), [&] { drained = true; });
  Run(absl::Seconds(1));
  EXPECT_TRUE(drained);
  EXPECT_TRUE(client.ended() || client.closed().has_value());
  EXPECT_TRUE(other.accepted.empty());
  EXPECT_EQ(service_->totals().backends[0].failed, 0u);
  EXPECT_EQ(service_->totals().backends[0].open, 0u);
}

TEST_F(RelayServiceTest, TheEndCutsAll) {
  Backend& backend = AddBackend("10.0.1.1");
  Start();
  StreamRecorder& client = Send("hello");
  service_->OnEnd();
  Run();
  EXPECT_FALSE(client.closed()->ok());
  EXPECT_FALSE(backend.last().closed()->ok());
  Connector late(client_.loop());
  late.Connect(relay_.Address(9000), {}, [](absl::StatusOr<std::unique_ptr<Stream>>) {});
  Run();
  EXPECT_EQ(backend.accepted.size(), 1u);
}

}  // namespace
}  // namespace sluice::tools
