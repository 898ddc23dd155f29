// NameDialer on real engines, over loopback. name_dialer_test.cc has the rules, in virtual time.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/fake_resolver.h"
#include "sluice/core/name_dialer.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Family = SocketAddress::Family;
using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;

// An address that refuses: its port is taken, and nobody listens.
class RefusingAddress {
 public:
  explicit RefusingAddress(const SocketAddress& address)
      : fd_(::socket(address.data()->sa_family, SOCK_STREAM, 0)),
        bound_(::bind(fd_, address.data(), address.length()) == 0) {}
  ~RefusingAddress() { ::close(fd_); }
  RefusingAddress(const RefusingAddress&) = delete;
  RefusingAddress& operator=(const RefusingAddress&) = delete;
  bool bound() const { return bound_; }

 private:
  const int fd_;
  const bool bound_;
};

class NameDialerContractTest : public testing::Test {
 protected:
  absl::Status Listen(const SocketAddress& address) {
    absl::StatusOr<std::unique_ptr<Listener>> listener =
        Listener::Listen(*loop_, address, {.listen = {.ipv6_only = true}},
                         [this](std::unique_ptr<Stream> stream) { accepted_ = std::move(stream); });
    if (listener.ok()) listener_ = *std::move(listener);
    return listener.status();
  }

  // Listens on one loopback address, and refuses on the other; false where there is no IPv6.
  bool ListenAndRefuse(const SocketAddress& listening, const SocketAddress& refusing) {
    for (int i = 0; i < 20; ++i) {
      if (!Listen(listening).ok()) return false;
      const uint16_t port = listener_->address().port();
      refusing_ = std::make_unique<RefusingAddress>(refusing.WithPort(port));
      if (refusing_->bound()) return true;
    }
    return false;
  }

  void Names(Family family, std::initializer_list<absl::string_view> addresses,
             absl::Duration delay = absl::ZeroDuration()) {
    resolver_->Set("example.com", family,
                   {.addresses = FakeResolver::Addresses(addresses), .delay = delay});
  }

  std::string Dial(uint16_t port, const NameDialer::Options& options = {},
                   absl::Duration timeout = test::kBound) {
    bool done = false;
    absl::Status status;
    attempt_ =
        (*NameDialer::Create(resolver_, options))
            ->Dial(*loop_, {"example.com", port}, {.timeout = timeout}, [&](StreamOr stream) {
              done = true;
              status = stream.status();
              if (stream.ok()) stream_ = *std::move(stream);
              attempt_.reset();
            });
    EXPECT_FALSE(done);
    EXPECT_TRUE(test::Until(*loop_, [&] { return done; }));
    return status.ok() ? "" : std::string(status.message());
  }

  // What was accepted is what was dialed, and nothing else is open.
  void ExpectConnection() {
    ASSERT_NE(stream_, nullptr);
    ASSERT_TRUE(test::Until(*loop_, [this] { return accepted_ != nullptr; }));
    test::Recorder recorder;
    accepted_->SetHandler(recorder);
    stream_->Send("hello");
    EXPECT_TRUE(test::Until(*loop_, [&] { return recorder.received == "hello"; }));
    EXPECT_EQ(loop_->counters().streams, 2u);
    accepted_.reset();
  }

  const std::shared_ptr<FakeResolver> resolver_ = std::make_shared<FakeResolver>();
  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  std::unique_ptr<RefusingAddress> refusing_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Stream> accepted_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Dialer::Attempt> attempt_;
};

TEST_F(NameDialerContractTest, OfARefusingFamilyTheOtherConnects) {
  const SocketAddress v4 = SocketAddress::Ipv4Loopback(0);
  const SocketAddress v6 = SocketAddress::Ipv6Loopback(0);
  if (const absl::Status status = Listen(v6); !status.ok())
    GTEST_SKIP() << "this system has no IPv6 loopback address: " << status;
  Names(Family::kIpv6, {"::1"});
  Names(Family::kIpv4, {"127.0.0.1"});
  for (const bool v6_refuses : {true, false}) {
    SCOPED_TRACE(v6_refuses);
    ASSERT_TRUE(ListenAndRefuse(v6_refuses ? v4 : v6, v6_refuses ? v6 : v4));
    // So that the one that refuses is tried first.
    if (!v6_refuses) Names(Family::kIpv6, {"::1"}, absl::Milliseconds(20));
    EXPECT_EQ(Dial(listener_->address().port(), {.resolution_delay = absl::ZeroDuration()}), "");
    EXPECT_EQ(stream_->peer_address(), listener_->address());
    ExpectConnection();
  }
}

TEST_F(NameDialerContractTest, AnAddressThatDoesNotAnswerIsPassedBy) {
  test::SilentListener silent;
  const uint16_t port = silent.address().port();
  ASSERT_EQ(Listen((*SocketAddress::Parse("127.0.0.2:0")).WithPort(port)), absl::OkStatus());
  Names(Family::kIpv4, {"127.0.0.1", "127.0.0.2"});
  EXPECT_EQ(Dial(port, {.attempt_delay = absl::Milliseconds(10)}), "");
  EXPECT_EQ(stream_->peer_address(), listener_->address());
  ExpectConnection();
}

TEST_F(NameDialerContractTest, TheErrorHasEachAddress) {
  ASSERT_EQ(Listen(SocketAddress::Ipv4Loopback(0)), absl::OkStatus());
  const uint16_t port = listener_->address().port();
  listener_.reset();
  const RefusingAddress first(SocketAddress::Ipv4Loopback(port));
  Names(Family::kIpv4, {"127.0.0.1"});
  EXPECT_THAT(Dial(port), AllOf(HasSubstr("example.com:"), HasSubstr(": no connection: 127.0.0.1:"),
                                HasSubstr(": connect: Connection refused")));
  EXPECT_EQ(loop_->counters().streams, 0u);
}

TEST_F(NameDialerContractTest, TheDeadlineEndsLookupsAndTries) {
  const test::SilentListener silent;
  Names(Family::kIpv6, {}, absl::InfiniteDuration());
  Names(Family::kIpv4, {"127.0.0.1"});
  // The try begins in the turn of the answer, so that the whole time is for it.
  const NameDialer::Options at_once = {.resolution_delay = absl::ZeroDuration()};
  EXPECT_THAT(Dial(silent.address().port(), at_once, absl::Milliseconds(500)),
              AllOf(HasSubstr("no connection within 500ms: 127.0.0.1:"),
                    HasSubstr(": connect: no answer; no answer for its IPv6 addresses")));
  EXPECT_EQ(loop_->counters().streams, 0u);
  EXPECT_EQ(resolver_->pending(), 0);
}

TEST_F(NameDialerContractTest, AnAttemptMayBeGivenUp) {
  const test::SilentListener silent;
  Names(Family::kIpv4, {"127.0.0.1", "127.0.0.2"});
  const auto dialer = *NameDialer::Create(resolver_);
  attempt_ = dialer->Dial(*loop_, {"example.com", silent.address().port()}, {},
                          [](const StreamOr&) { FAIL() << "it was given up"; });
  ASSERT_TRUE(test::Until(*loop_, [this] { return loop_->counters().streams > 0; }));
  attempt_.reset();
  EXPECT_TRUE(test::Until(*loop_, [this] { return loop_->counters().streams == 0; }));
}

TEST(NameDialerSourceTest, TheSystemsSourceOfLoopbackIsLoopback) {
  EXPECT_EQ(NameDialer::SystemSource(SocketAddress::Ipv4Loopback(80)).WithPort(80),
            SocketAddress::Ipv4Loopback(80));
}

}  // namespace
}  // namespace sluice
