#include "sluice/core/dialer.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;

TEST(DialerTest, HeaderExample) {
  test::Recorder handler;
  std::unique_ptr<EventLoop> owned = test::NewLoop();
  EventLoop& loop = *owned;
  std::unique_ptr<Stream> accepted;
  auto listener = *Listener::Listen(loop, SocketAddress::Ipv4Loopback(0), {},
                                    [&](std::unique_ptr<Stream> s) { accepted = std::move(s); });
  bool done = false;

  DirectDialer dialer;
  std::unique_ptr<Dialer::Attempt> attempt = dialer.Dial(
      loop, {.host = "127.0.0.1", .port = listener->address().port()},
      {.timeout = absl::Seconds(3)}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
        if (stream.ok()) Stream::Run(*std::move(stream), handler);
        done = true;
      });

  EXPECT_FALSE(done);
  ASSERT_TRUE(test::Until(loop, [&] { return done && accepted != nullptr; }));
  accepted->Send("hello");
  EXPECT_TRUE(test::Until(loop, [&] { return handler.received == "hello"; }));
  accepted.reset();
  EXPECT_TRUE(test::Until(loop, [&] { return handler.closed; }));
  listener.reset();
}

TEST(EndpointTest, IsWrittenAsInUrls) {
  EXPECT_EQ((Endpoint{"example.com", 443}.ToString()), "example.com:443");
  EXPECT_EQ((Endpoint{"::1", 80}.ToString()), "[::1]:80");
  EXPECT_EQ((Endpoint{"10.0.0.1", 9}.ToString()), "10.0.0.1:9");
  EXPECT_EQ((Endpoint{"a\r\nb", 9}.ToString()), "a\\r\\nb:9");
}

TEST(EndpointTest, AnAddressIsKnownFromAName) {
  EXPECT_EQ((Endpoint{"10.0.0.1", 9}.Address().ToString()), "10.0.0.1:9");
  EXPECT_EQ((Endpoint{"2001:db8::1", 9}.Address().ToString()), "[2001:db8::1]:9");
  EXPECT_EQ((Endpoint{"example.com", 9}.Address().family()), SocketAddress::Family::kNone);
}

TEST(EndpointTest, WhatIsNoHostIsRefused) {
  EXPECT_EQ((Endpoint{"example.com", 443}.Check()), absl::OkStatus());
  EXPECT_EQ((Endpoint{"_x.example-1.com.", 443}.Check()), absl::OkStatus());
  EXPECT_EQ((Endpoint{std::string(255, 'a'), 443}.Check()), absl::OkStatus());
  EXPECT_EQ((Endpoint{"::1", 443}.Check()), absl::OkStatus());
  const std::vector<std::string> hosts = {"",
                                          std::string(256, 'a'),
                                          "[::1]",
                                          "a b",
                                          "a\r\nX: y",
                                          std::string("127.0.0.1\0x", 11),
                                          "*",
                                          "unix:/tmp/x",
                                          "a:b",
                                          "fe80::1%1\r\nX:y",
                                          "fe80::1%1\n",
                                          "user@host",
                                          "b\xc3\xbc"
                                          "cher.example"};
  for (const std::string& host : hosts) {
    const absl::Status status = Endpoint{host, 443}.Check();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << host;
    EXPECT_THAT(std::string(status.message()), HasSubstr("is no host"));
  }
  EXPECT_THAT(std::string(Endpoint{"a", 0}.Check().message()), HasSubstr("a:0: the port"));
}

class SimulatedDialTest : public testing::Test {
 protected:
  void Dial(const Dialer& dialer, const Endpoint& endpoint, const DialOptions& options = {}) {
    attempt_ = dialer.Dial(client_.loop(), endpoint, options, [this](StreamOr stream) {
      ++calls_;
      status_ = stream.status();
      if (stream.ok()) stream_ = *std::move(stream);
      at_ = network_.now();
      attempt_.reset();  // which is allowed
    });
    EXPECT_EQ(calls_, 0);
  }
  bool Done() {
    return network_.RunUntil([this] { return calls_ > 0; }, absl::Minutes(1));
  }

  SimulatedNetwork network_{1};
  SimulatedHost& server_ = network_.AddHost("server");
  SimulatedHost& client_ = network_.AddHost("client");
  std::unique_ptr<Dialer::Attempt> attempt_;
  std::unique_ptr<Stream> stream_;
  absl::Status status_;
  MonotonicTime at_;
  int calls_ = 0;
};

TEST_F(SimulatedDialTest, ANameNeedsAResolverAndIsRefusedLater) {
  Dial(DirectDialer(), {"example.com", 80});
  ASSERT_TRUE(Done());
  EXPECT_EQ(status_.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status_.message()), HasSubstr("example.com:80"));
  EXPECT_THAT(std::string(status_.message()), HasSubstr("resolver"));
}

TEST_F(SimulatedDialTest, AMalformedHostIsRefusedLater) {
  Dial(DirectDialer(), {"a b", 80});
  ASSERT_TRUE(Done());
  EXPECT_EQ(status_.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SimulatedDialTest, ARefusedConnectNamesTheAddress) {
  Dial(FixedDialer(server_.Address(9)), {"anything", 80});
  ASSERT_TRUE(Done());
  EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status_.message()), HasSubstr(server_.Address(9).ToString()));
}

TEST_F(SimulatedDialTest, TheDeadlineEndsAnUnansweredConnect) {
  network_.SetLink(server_, client_, {.ignore = 1});
  const MonotonicTime begin = network_.now();
  Dial(FixedDialer(server_.Address(9)), {"anything", 80}, {.timeout = absl::Seconds(3)});
  ASSERT_TRUE(Done());
  EXPECT_EQ(status_.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(at_ - begin, absl::Seconds(3));
  EXPECT_LT(at_ - begin, absl::Seconds(3.1));
}

TEST_F(SimulatedDialTest, AnAttemptThatIsDestroyedIsGivenUp) {
  auto listener =
      *Listener::Listen(server_.loop(), server_.Address(9), {}, [](std::unique_ptr<Stream>) {});
  Dial(FixedDialer(server_.Address(9)), {"anything", 80});
  attempt_.reset();
  Dial(DirectDialer(), {"example.com", 80});
  attempt_.reset();
  network_.RunFor(absl::Seconds(20));
  EXPECT_EQ(calls_, 0);
}

TEST_F(SimulatedDialTest, TheStreamHasTheOptions) {
  std::unique_ptr<Stream> accepted;
  auto listener = *Listener::Listen(server_.loop(), server_.Address(9), {},
                                    [&](std::unique_ptr<Stream> s) { accepted = std::move(s); });
  Dial(FixedDialer(server_.Address(9)), {"anything", 80},
       {.stream = {.idle_timeout = absl::Seconds(7)}});
  ASSERT_TRUE(Done());
  ASSERT_EQ(status_, absl::OkStatus());
  test::Recorder recorder;
  stream_->SetHandler(recorder);
  network_.RunFor(absl::Seconds(8));
  EXPECT_EQ(recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace sluice
