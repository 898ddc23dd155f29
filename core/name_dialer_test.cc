// In a simulated network, in virtual time. name_dialer_contract_test.cc is about real engines.
#include "sluice/core/name_dialer.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/fake_resolver.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/resolver.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Family = SocketAddress::Family;
using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;

constexpr absl::Duration kNever = absl::InfiniteDuration();
constexpr uint16_t kPort = 443;

TEST(NameDialerOptionsTest, WhatIsOutOfRangeIsRefusedByItsName) {
  const auto resolver = std::make_shared<FakeResolver>();
  const auto error = [&](const NameDialer::Options& options) {
    const auto dialer = NameDialer::Create(resolver, options);
    EXPECT_EQ(dialer.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(dialer.status().message());
  };
  EXPECT_EQ(error({.resolution_delay = absl::Seconds(-1)}),
            "NameDialer: resolution_delay is -1s and must be from 0 to 2s");
  EXPECT_EQ(error({.attempt_delay = absl::Milliseconds(9)}),
            "NameDialer: attempt_delay is 9ms and must be from 10ms to 2s");
  EXPECT_EQ(error({.max_addresses = 0}),
            "NameDialer: max_addresses is 0 and must be from 1 to 100");
  EXPECT_EQ(error({.max_attempts_at_once = 101}),
            "NameDialer: max_attempts_at_once is 101 and must be from 1 to 100");
  EXPECT_EQ(NameDialer::Create(nullptr).status().message(),
            "NameDialer: there is no resolver (null)");
  EXPECT_TRUE(NameDialer::Create(resolver).ok());
}

class NameDialerTest : public testing::Test {
 protected:
  NameDialerTest() { options_.source_address = nullptr; }

  SimulatedHost& AddServer(absl::string_view host) {
    SimulatedHost& server = network_.AddHost(host);
    listeners_.push_back(*Listener::Listen(
        server.loop(), server.Address(kPort), {},
        [this](std::unique_ptr<Stream> s) { accepted_.push_back(std::move(s)); }));
    return server;
  }

  // `answer` comes after `delay`.
  void Names(Family family, absl::StatusOr<std::vector<SocketAddress>> addresses,
             absl::Duration delay = absl::ZeroDuration()) {
    resolver_->Set("example.com", family, {.addresses = std::move(addresses), .delay = delay});
  }

  void Dial(const Endpoint& endpoint = {"example.com", kPort},
            absl::Duration timeout = absl::Seconds(10)) {
    begin_ = network_.now();
    calls_ = 0;
    stream_ = nullptr;
    attempt_ = (*NameDialer::Create(resolver_, options_))
                   ->Dial(client_.loop(), endpoint, {.timeout = timeout},
                          [this](StreamOr stream) { OnDone(std::move(stream)); });
    EXPECT_EQ(calls_, 0);
  }

  // What Dial came to: the address that it is connected with, or the error.
  std::string Outcome() {
    network_.RunUntil([this] { return calls_ > 0; }, absl::Minutes(10));
    network_.RunFor(absl::Minutes(5));  // whatever else might come
    EXPECT_EQ(calls_, 1) << network_.Describe();
    EXPECT_EQ(resolver_->pending(), 0);
    EXPECT_EQ(network_.connections(), stream_ == nullptr ? 0u : 1u);
    return stream_ == nullptr ? std::string(status_.message()) : stream_->peer_address().ToString();
  }

  const std::shared_ptr<FakeResolver> resolver_ = std::make_shared<FakeResolver>();
  NameDialer::Options options_;
  SimulatedNetwork network_{1};
  SimulatedHost& client_ = network_.AddHost("client");
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Stream>> accepted_;
  std::unique_ptr<Dialer::Attempt> attempt_;
  MonotonicTime begin_;
  std::unique_ptr<Stream> stream_;
  absl::Status status_;
  absl::Duration took_;
  int calls_ = 0;

 private:
  void OnDone(StreamOr stream) {
    ++calls_;
    took_ = network_.now() - begin_;
    status_ = stream.status();
    if (stream.ok()) stream_ = *std::move(stream);
    attempt_.reset();  // which is allowed
  }
};

TEST_F(NameDialerTest, HeaderExample) {
  AddServer("192.0.2.1");
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  const std::shared_ptr<const Resolver> resolver = resolver_;
  EventLoop& loop = client_.loop();
  const auto done = [this](StreamOr stream) {
    ++calls_;
    if (stream.ok()) stream_ = *std::move(stream);
  };
  const auto dial = [&]() -> absl::Status {
    auto dialer = NameDialer::Create(resolver);
    if (!dialer.ok()) return dialer.status();
    auto attempt = (*dialer)->Dial(loop, {.host = "example.com", .port = 443}, {}, done);

    attempt_ = std::move(attempt);
    return absl::OkStatus();
  };
  ASSERT_EQ(dial(), absl::OkStatus());
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
}

TEST_F(NameDialerTest, Ipv6IsTriedFirst) {
  AddServer("2001:db8::1");
  AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(), "[2001:db8::1]:443");
  EXPECT_LT(took_, absl::Milliseconds(1));
  EXPECT_EQ(accepted_.size(), 1u);
  EXPECT_EQ(resolver_->questions(), 2);
}

TEST_F(NameDialerTest, OfABlackHoledFamilyTheOtherConnectsWithin300Milliseconds) {
  SimulatedHost& v6 = AddServer("2001:db8::1");
  SimulatedHost& v4 = AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1", "2001:db8::2"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  network_.SetLink(client_, v6, {.ignore = 1});
  network_.SetLink(client_, v4, {.latency = absl::Milliseconds(20)});
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
  EXPECT_GE(took_, absl::Milliseconds(290));
  EXPECT_LT(took_, absl::Milliseconds(300));
}

TEST_F(NameDialerTest, APartitionIsABlackHoleToo) {
  SimulatedHost& v6 = AddServer("2001:db8::1");
  AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  network_.Partition(client_, v6);
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
  EXPECT_LT(took_, absl::Milliseconds(300));
}

TEST_F(NameDialerTest, ARefusedTryBeginsTheNextAtOnce) {
  network_.AddHost("2001:db8::1");  // nobody listens
  AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
  EXPECT_LT(took_, absl::Milliseconds(1));
}

TEST_F(NameDialerTest, TheFamiliesTakeTurns) {
  options_.attempt_delay = absl::Milliseconds(100);
  for (const char* host : {"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"})
    network_.SetLink(client_, network_.AddHost(host), {.ignore = 1});
  AddServer("192.0.2.2");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1", "2001:db8::2", "2001:db8::3"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1", "192.0.2.2"}));
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.2:443");  // the fourth
  EXPECT_GE(took_, absl::Milliseconds(300));
  EXPECT_LT(took_, absl::Milliseconds(301));
}

TEST_F(NameDialerTest, AnAddressWithoutAWayThereIsTriedLast) {
  options_.source_address = [](const SocketAddress& destination) {
    return destination.family() == Family::kIpv4 ? destination : SocketAddress();
  };
  AddServer("2001:db8::1");
  AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}), absl::Milliseconds(10));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
}

TEST_F(NameDialerTest, Ipv6AddressesThatAreLateByLessThanTheResolutionDelayComeFirst) {
  AddServer("2001:db8::1");
  AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}), absl::Milliseconds(45));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(), "[2001:db8::1]:443");
  EXPECT_GE(took_, absl::Milliseconds(45));
  EXPECT_LT(took_, absl::Milliseconds(46));
}

TEST_F(NameDialerTest, LaterIpv6AddressesAreNotWaitedFor) {
  AddServer("2001:db8::1");
  AddServer("192.0.2.1");
  for (const absl::Duration delay : {absl::Milliseconds(80), absl::Seconds(8), kNever}) {
    SCOPED_TRACE(delay);
    Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}), delay);
    Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), absl::Milliseconds(10));
    Dial();
    EXPECT_EQ(Outcome(), "192.0.2.1:443");
    EXPECT_GE(took_, absl::Milliseconds(60));
    EXPECT_LT(took_, absl::Milliseconds(61));
  }
}

TEST_F(NameDialerTest, ThatThereAreNoIpv6AddressesEndsTheResolutionDelay) {
  AddServer("192.0.2.1");
  using Answer = absl::StatusOr<std::vector<SocketAddress>>;
  for (const Answer& answer :
       {Answer(std::vector<SocketAddress>()), Answer(absl::UnavailableError("SERVFAIL")),
        Answer(absl::NotFoundError("there is no such name"))}) {
    SCOPED_TRACE(answer.status());
    Names(Family::kIpv6, answer, absl::Milliseconds(20));
    Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
    Dial();
    EXPECT_EQ(Outcome(), "192.0.2.1:443");
    EXPECT_GE(took_, absl::Milliseconds(20));
    EXPECT_LT(took_, absl::Milliseconds(21));
  }
}

TEST_F(NameDialerTest, SlowIpv4AddressesAreNotWaitedFor) {
  AddServer("2001:db8::1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}), absl::Milliseconds(10));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), kNever);
  Dial();
  EXPECT_EQ(Outcome(), "[2001:db8::1]:443");
  EXPECT_LT(took_, absl::Milliseconds(11));
  EXPECT_EQ(resolver_->given_up(), 1);
}

TEST_F(NameDialerTest, LateAddressesJoinTheList) {
  for (const char* host : {"2001:db8::1", "2001:db8::2"})
    network_.SetLink(client_, network_.AddHost(host), {.ignore = 1});
  AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1", "2001:db8::2"}));
  // Between the first and the second try: it is the second.
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), absl::Milliseconds(100));
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
  EXPECT_GE(took_, absl::Milliseconds(250));
  EXPECT_LT(took_, absl::Milliseconds(251));
  // When nothing was left to try: at once.
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), absl::Seconds(3));
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
  EXPECT_GE(took_, absl::Seconds(3));
  EXPECT_LT(took_, absl::Seconds(3.001));
}

TEST_F(NameDialerTest, LateAddressesAreTriedAtOnceWhenAllOthersHaveFailed) {
  network_.AddHost("2001:db8::1");
  AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), absl::Milliseconds(70));
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
  EXPECT_LT(took_, absl::Milliseconds(71));
}

TEST_F(NameDialerTest, AnEarlierTryMayStillWin) {
  SimulatedHost& v6 = AddServer("2001:db8::1");
  SimulatedHost& v4 = AddServer("192.0.2.1");
  network_.SetLink(client_, v6, {.latency = absl::Milliseconds(150)});
  network_.SetLink(client_, v4, {.latency = absl::Milliseconds(150)});
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(), "[2001:db8::1]:443");
  EXPECT_LT(took_, absl::Milliseconds(301));
}

TEST_F(NameDialerTest, AllAddressesAndWhyTheyFailedAreInTheError) {
  network_.AddHost("2001:db8::1");
  network_.AddHost("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(),
            "example.com:443: no connection: [2001:db8::1]:443: connect: Connection refused; "
            "192.0.2.1:443: connect: Connection refused");
  EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
}

TEST_F(NameDialerTest, AFailedLookupIsInTheErrorBesideTheOthersAddresses) {
  network_.AddHost("192.0.2.1");
  Names(Family::kIpv6, absl::UnavailableError("no name server has answered"));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(),
            "example.com:443: no connection: 192.0.2.1:443: connect: Connection refused; "
            "example.com: no name server has answered");
  EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
}

TEST_F(NameDialerTest, ANameThatIsThereIsNotCalledUnknownForAFamilyThatItLacks) {
  network_.AddHost("192.0.2.1");
  Names(Family::kIpv6, absl::NotFoundError("there is no such name"));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(),
            "example.com:443: no connection: 192.0.2.1:443: connect: Connection refused");
}

TEST_F(NameDialerTest, ThatThereIsNoSuchNameIsKnownFromThatNobodyAnswers) {
  Dial({"nowhere.example", kPort});
  EXPECT_EQ(Outcome(),
            "nowhere.example:443: no connection: nowhere.example: there is no such name");
  EXPECT_EQ(status_.code(), absl::StatusCode::kNotFound);

  Names(Family::kIpv6, std::vector<SocketAddress>());
  Dial();
  EXPECT_EQ(Outcome(), "example.com:443: no connection: the name has no address");
  EXPECT_EQ(status_.code(), absl::StatusCode::kNotFound);

  Names(Family::kIpv4, absl::UnavailableError("SERVFAIL"));
  Dial();
  EXPECT_EQ(Outcome(), "example.com:443: no connection: example.com: SERVFAIL");
  EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
}

TEST_F(NameDialerTest, FlappingNamesConnectWhenTheyAnswer) {
  AddServer("192.0.2.1");
  resolver_->Set("example.com", Family::kIpv6, {.addresses = absl::UnavailableError("SERVFAIL")});
  resolver_->Set("example.com", Family::kIpv4,
                 {{.addresses = absl::UnavailableError("SERVFAIL")},
                  {.addresses = FakeResolver::Addresses({"192.0.2.1"})},
                  {.addresses = FakeResolver::Addresses({"192.0.2.1"}), .delay = kNever},
                  {.addresses = FakeResolver::Addresses({"192.0.2.1"})}});
  Dial();
  EXPECT_THAT(Outcome(), HasSubstr("SERVFAIL"));
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
  Dial();
  EXPECT_THAT(Outcome(), HasSubstr("no connection within 10s"));
  Dial();
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
}

TEST_F(NameDialerTest, OneDeadlineIsForLookupAndTries) {
  network_.AddHost("2001:db8::1");
  network_.SetLink(client_, network_.AddHost("192.0.2.1"), {.ignore = 1});
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}), absl::Seconds(1));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), absl::Seconds(2));
  Dial({"example.com", kPort}, absl::Seconds(3));
  EXPECT_EQ(Outcome(),
            "example.com:443: no connection within 3s: [2001:db8::1]:443: connect: Connection "
            "refused; 192.0.2.1:443: connect: no answer");
  EXPECT_EQ(status_.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(took_, absl::Seconds(3));
  EXPECT_LT(took_, absl::Seconds(3.001));

  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}), kNever);
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), kNever);
  Dial({"example.com", kPort}, absl::Seconds(3));
  EXPECT_EQ(Outcome(),
            "example.com:443: no connection within 3s: no answer for its IPv6 addresses; no "
            "answer for its IPv4 addresses");
  EXPECT_EQ(status_.code(), absl::StatusCode::kDeadlineExceeded);

  Names(Family::kIpv4, absl::NotFoundError("there is no such name"));
  Dial({"example.com", kPort}, absl::Seconds(3));
  EXPECT_EQ(Outcome(),
            "example.com:443: no connection within 3s: no answer for its IPv6 addresses; "
            "example.com: there is no such name");
}

TEST_F(NameDialerTest, SoManyTriesAreUnderWayAtOnce) {
  options_.max_attempts_at_once = 2;
  SimulatedHost& slow = network_.AddHost("2001:db8::1");  // refuses after a second
  network_.SetLink(client_, slow, {.latency = absl::Milliseconds(500)});
  network_.SetLink(client_, network_.AddHost("192.0.2.1"), {.ignore = 1});
  AddServer("2001:db8::2");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1", "2001:db8::2"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(), "[2001:db8::2]:443");
  EXPECT_GE(took_, absl::Seconds(1));
  EXPECT_LT(took_, absl::Seconds(1.001));
}

TEST_F(NameDialerTest, SoManyAddressesAreTriedAndTheRestIsCounted) {
  options_.max_addresses = 2;
  for (const char* host : {"2001:db8::1", "2001:db8::2", "192.0.2.1"}) network_.AddHost(host);
  Names(Family::kIpv6,
        FakeResolver::Addresses({"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  EXPECT_EQ(Outcome(),
            "example.com:443: no connection: [2001:db8::1]:443: connect: Connection refused; "
            "192.0.2.1:443: connect: Connection refused; 1 more not tried");
  // Nor is an answer waited for that could bring no further try.
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), kNever);
  Dial();
  EXPECT_THAT(Outcome(), Not(HasSubstr("within")));
}

TEST_F(NameDialerTest, AnAddressThatComesTwiceIsTriedOnce) {
  network_.AddHost("2001:db8::1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1", "2001:db8::1"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"2001:db8::1"}), absl::Seconds(1));
  Dial();
  EXPECT_EQ(Outcome(),
            "example.com:443: no connection: [2001:db8::1]:443: connect: Connection refused");
}

TEST_F(NameDialerTest, OfAnAddressNobodyIsAsked) {
  AddServer("2001:db8::1");
  AddServer("192.0.2.1");
  Dial({"192.0.2.1", kPort});
  EXPECT_EQ(Outcome(), "192.0.2.1:443");
  Dial({"2001:db8::1", kPort});
  EXPECT_EQ(Outcome(), "[2001:db8::1]:443");
  EXPECT_EQ(resolver_->questions(), 0);
}

TEST_F(NameDialerTest, WhatIsNoEndpointIsRefusedLater) {
  Dial({"a b", kPort});
  EXPECT_THAT(Outcome(), HasSubstr("\"a b\" is no host"));
  EXPECT_EQ(status_.code(), absl::StatusCode::kInvalidArgument);
  Dial({"example.com", 0});
  EXPECT_THAT(Outcome(), HasSubstr("the port must be from 1 to 65535"));
}

TEST_F(NameDialerTest, ALoopThatDrainsGetsNoFurtherConnects) {
  network_.SetLink(client_, network_.AddHost("2001:db8::1"), {.ignore = 1});
  AddServer("192.0.2.1");
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  Dial();
  network_.RunFor(absl::Milliseconds(100));
  bool drained = false;
  client_.loop().Drain(absl::Seconds(5), [&] { drained = true; });
  EXPECT_THAT(Outcome(), HasSubstr("example.com:443: no connection, as the loop drains: "));
  EXPECT_EQ(status_.code(), absl::StatusCode::kCancelled) << status_;
  EXPECT_TRUE(drained);
  EXPECT_THAT(accepted_, IsEmpty());
}

TEST_F(NameDialerTest, ALookUpThatEndsWhileTheLoopDrainsBeginsNoConnect) {
  AddServer("192.0.2.1");
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}), absl::Milliseconds(100));
  // The loop has something to wait for until the answer is there.
  struct : StreamHandler {
    void OnReceive(Stream&, absl::Span<uint8_t>) override {}
    void OnDrain(Stream&) override {}
  } busy;
  std::unique_ptr<Stream> other;
  const auto other_attempt =
      DirectDialer().Dial(client_.loop(), {"192.0.2.1", kPort}, {},
                          [&](StreamOr stream) { other = *std::move(stream); });
  ASSERT_TRUE(network_.RunUntil([&] { return other != nullptr; }, absl::Seconds(1)));
  other->SetHandler(busy);
  Dial();
  network_.RunFor(absl::Milliseconds(50));
  bool drained = false;
  client_.loop().Drain(absl::Seconds(5), [&] { drained = true; });
  network_.RunUntil([this] { return calls_ > 0; }, absl::Minutes(1));
  EXPECT_FALSE(drained);
  EXPECT_EQ(status_.code(), absl::StatusCode::kCancelled) << status_;
  EXPECT_EQ(status_.message(),
            "example.com:443: no connection, as the loop drains: 1 more not tried");
  EXPECT_EQ(accepted_.size(), 1u);  // the other
  EXPECT_EQ(network_.connections(), 1u);
}

TEST_F(NameDialerTest, TheStreamAndItsSocketHaveTheOptions) {
  AddServer("192.0.2.1");
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1"}));
  const auto dialer = *NameDialer::Create(resolver_, options_);
  attempt_ = dialer->Dial(client_.loop(), {"example.com", kPort},
                          {.stream = {.idle_timeout = absl::Seconds(7)}}, [this](StreamOr stream) {
                            ++calls_;
                            stream_ = *std::move(stream);
                          });
  ASSERT_TRUE(network_.RunUntil([this] { return calls_ > 0; }, absl::Seconds(1)));
  struct : StreamHandler {
    void OnReceive(Stream&, absl::Span<uint8_t>) override {}
    void OnClose(Stream&, const absl::Status& status) override { why = status; }
    absl::Status why;
  } handler;
  stream_->SetHandler(handler);
  network_.RunFor(absl::Seconds(8));
  EXPECT_EQ(handler.why.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(NameDialerTest, AnAttemptMayBeGivenUpAtEveryMoment) {
  for (const char* host : {"2001:db8::1", "192.0.2.1"})
    network_.SetLink(client_, network_.AddHost(host), {.ignore = 1});
  network_.SetLink(client_, AddServer("192.0.2.2"), {.latency = absl::Milliseconds(10)});
  Names(Family::kIpv6, FakeResolver::Addresses({"2001:db8::1"}), absl::Milliseconds(70));
  Names(Family::kIpv4, FakeResolver::Addresses({"192.0.2.1", "192.0.2.2"}), absl::Milliseconds(30));
  int given_up = 0;
  for (absl::Duration at; calls_ == 0; at += absl::Milliseconds(3)) {
    Dial();
    network_.RunFor(at);
    if (calls_ > 0) break;
    attempt_.reset();
    ++given_up;
    network_.RunFor(absl::Minutes(3));
    EXPECT_EQ(calls_, 0);
    EXPECT_EQ(network_.connections(), 0u);
    EXPECT_EQ(resolver_->pending(), 0);
  }
  EXPECT_GT(given_up, 100);
  EXPECT_NE(stream_, nullptr);
}

// A random network, random answers, a random end. What must hold whatever comes.
class RandomDial {
 public:
  explicit RandomDial(uint64_t seed) : network_(seed) {
    options_.source_address = nullptr;
    options_.max_attempts_at_once = 1 + Below(4);
    options_.max_addresses = 1 + Below(8);
    options_.attempt_delay = absl::Milliseconds(10 + Below(400));
    options_.resolution_delay = absl::Milliseconds(Below(100));
    for (const Family family : {Family::kIpv6, Family::kIpv4}) AddFamily(family);
  }

  void Run() {
    const auto dialer = *NameDialer::Create(resolver_, options_);
    const absl::Duration timeout = absl::Milliseconds(1 + Below(3000));
    const MonotonicTime begin = network_.now();
    MonotonicTime ended;
    std::unique_ptr<Dialer::Attempt> attempt = dialer->Dial(
        client_.loop(), {"example.com", kPort}, {.timeout = timeout}, [&](StreamOr stream) {
          ++calls_;
          ended = network_.now();
          status_ = stream.status();
          if (stream.ok()) stream_ = *std::move(stream);
          if (Below(2) == 0) attempt.reset();
        });
    const bool give_up = Below(4) == 0;
    if (give_up) network_.After(absl::Milliseconds(Below(2000)), [&] { attempt.reset(); });
    network_.RunUntil(
        [&] {
          EXPECT_LE(client_.descriptors(), options_.max_attempts_at_once);
          return false;
        },
        absl::Seconds(10));
    network_.RunFor(absl::Minutes(5));
    EXPECT_LE(calls_, 1);
    EXPECT_TRUE(calls_ == 1 || give_up);
    if (calls_ == 1) CheckOutcome(ended, begin + timeout);
    EXPECT_EQ(network_.connections(), stream_ == nullptr ? 0u : 1u);
    EXPECT_EQ(resolver_->pending(), 0);
    stream_.reset();
    network_.RunFor(absl::Minutes(1));
    EXPECT_EQ(network_.connections(), 0u);
  }

  bool connected() const { return winner_ >= 0; }

 private:
  struct Server {
    SocketAddress address;
    absl::Duration latency;
    std::unique_ptr<Listener> listener = nullptr;
    std::vector<MonotonicTime> asked = {};  // when connects arrived
  };
  // So exact is the simulation, whose turns take some time.
  static constexpr absl::Duration kExact = absl::Milliseconds(1);

  int Below(int bound) { return static_cast<int>(network_.Random(static_cast<uint64_t>(bound))); }

  void AddFamily(Family family) {
    std::vector<SocketAddress> addresses;
    for (int i = Below(4); i > 0; --i) {
      addresses.push_back(AddServer(family == Family::kIpv6 ? absl::StrCat("2001:db8::", i)
                                                            : absl::StrCat("192.0.2.", i)));
    }
    FakeResolver::Answer answer{.addresses = addresses, .delay = absl::Milliseconds(Below(300))};
    if (Below(8) == 0) answer.addresses = absl::UnavailableError("SERVFAIL");
    if (Below(8) == 0) answer.addresses = absl::NotFoundError("there is no such name");
    if (Below(8) == 0) answer.delay = kNever;
    resolver_->Set("example.com", family, answer);
  }

  SocketAddress AddServer(const std::string& name) {
    SimulatedHost& host = network_.AddHost(name);
    const size_t number = servers_.size();
    servers_.push_back({host.Address(kPort), absl::Milliseconds(Below(400))});
    network_.SetLink(host, client_,
                     {.latency = servers_[number].latency, .ignore = Below(3) == 0 ? 1.0 : 0.0});
    if (Below(3) != 0) {
      servers_[number].listener = *Listener::Listen(
          host.loop(), host.Address(kPort), {}, [this, number](std::unique_ptr<Stream> stream) {
            servers_[number].asked.push_back(network_.now());
            accepted_.push_back(std::move(stream));
          });
    }
    return host.Address(0);
  }

  void CheckOutcome(MonotonicTime ended, MonotonicTime deadline) {
    EXPECT_LE(ended, deadline + kExact);
    for (size_t i = 0; i < servers_.size(); ++i) {
      const Server& server = servers_[i];
      EXPECT_LE(server.asked.size(), 1u);
      if (stream_ != nullptr && stream_->peer_address() == server.address)
        winner_ = static_cast<int>(i);
      // None stood before the outcome, whichever it was.
      for (const MonotonicTime asked : server.asked)
        EXPECT_GE(asked + server.latency + kExact, ended) << server.address.ToString();
    }
    ASSERT_EQ(winner_ >= 0, stream_ != nullptr);
    if (winner_ < 0) {
      EXPECT_THAT(std::string(status_.message()), HasSubstr("example.com:443: no connection"));
      return;
    }
    const Server& winner = servers_[static_cast<size_t>(winner_)];
    ASSERT_EQ(winner.asked.size(), 1u);
    EXPECT_LE(winner.asked[0] + winner.latency, ended + kExact);
  }

  const std::shared_ptr<FakeResolver> resolver_ = std::make_shared<FakeResolver>();
  NameDialer::Options options_;
  SimulatedNetwork network_;
  SimulatedHost& client_ = network_.AddHost("client");
  std::vector<Server> servers_;
  std::vector<std::unique_ptr<Stream>> accepted_;
  std::unique_ptr<Stream> stream_;
  absl::Status status_;
  int calls_ = 0;
  int winner_ = -1;
};

TEST(NameDialerPropertyTest, TheFirstConnectionThatStandsIsTheOneOutcomeAndNoOtherIsLeft) {
  int connected = 0;
  constexpr int kSeeds = 2000;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    RandomDial dial(seed);
    dial.Run();
    if (testing::Test::HasFailure()) return;
    if (dial.connected()) ++connected;
  }
  // Neither all nor none: the schedules are worth something.
  EXPECT_GT(connected, kSeeds / 4);
  EXPECT_LT(connected, kSeeds * 3 / 4);
}

}  // namespace
}  // namespace sluice
