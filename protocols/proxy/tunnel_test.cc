// What holds for every proxy, whichever protocol it speaks. http_connect_test.cc and socks5_test.cc
// are about their own.
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/proxy/http_connect.h"
#include "sluice/protocols/proxy/internal/dial_fixture.h"
#include "sluice/protocols/proxy/socks5.h"

namespace sluice::proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Kind {
  std::string name;
  std::function<std::shared_ptr<const Dialer>(const Endpoint& proxy)> create;
  std::string answers;  // all that the proxy says until the tunnel is open
};

Kind HttpConnect(const std::string& name, const std::string& answers) {
  return {name, [](const Endpoint& proxy) { return *HttpConnectDialer::Create({.proxy = proxy}); },
          answers};
}

// Without authentication; `bound` is the address in its reply.
template <size_t N>
Kind Socks5(const std::string& name, const char (&bound)[N], const std::string& more = "") {
  return {name, [](const Endpoint& proxy) { return *Socks5Dialer::Create({.proxy = proxy}); },
          absl::StrCat(std::string("\x05\x00\x05\x00\x00", 5), std::string(bound, N - 1), more,
                       std::string("\x1f\x90", 2))};
}

class TunnelTest : public internal::DialFixture, public testing::WithParamInterface<Kind> {
 protected:
  void DialProxy(const Endpoint& endpoint = {"example.com", 443}, const DialOptions& options = {}) {
    Dial(*GetParam().create(proxy()), endpoint, options);  // and the dialer goes
  }
  // Has the proxy say a part of what it says: each from nothing to all but the last byte.
  void AtEachStep(const std::function<void()>& test) {
    for (size_t said = 0; said < answers_.size(); ++said) {
      SCOPED_TRACE(absl::StrCat("after ", said, " bytes"));
      DialProxy({"example.com", 443}, {.timeout = absl::Seconds(3)});
      Answer(answers_.substr(0, said));
      EXPECT_EQ(calls_, 0);
      test();
    }
  }

  const std::string answers_ = GetParam().answers;
};

TEST_P(TunnelTest, BytesGoBothWaysAfterwards) {
  DialProxy();
  Answer(answers_);
  ASSERT_TRUE(opened()) << status_;
  Asked();
  StreamRecorder client(std::move(stream_));
  client.stream().Send("question");
  Run();
  EXPECT_EQ(Asked(), "question");
  Answer("answer");
  EXPECT_EQ(client.received(), "answer");
}

// As SMTP and SSH servers do.
TEST_P(TunnelTest, WhatTheServerSaysFirstIsTheStreamsWhereverItIsSplit) {
  const std::string greeting = "220 ready\r\n\r\n";
  for (size_t split = 0; split <= answers_.size() + greeting.size(); ++split) {
    DialProxy();
    AnswerInTwo(answers_ + greeting, split);
    ASSERT_TRUE(opened()) << split << status_;
    EXPECT_EQ(Received(), greeting) << split;
  }
  DialProxy();
  AnswerByteByByte(answers_ + greeting);
  ASSERT_TRUE(opened()) << status_;
  EXPECT_EQ(Received(), greeting);
}

TEST_P(TunnelTest, OneDeadlineHoldsAtEveryStep) {
  AtEachStep([this] {
    network_.RunFor(absl::Seconds(4));
    EXPECT_EQ(status_.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(Error(), HasSubstr("example.com:443: no answer within 3s"));
    EXPECT_GE(took_, absl::Seconds(3));
    EXPECT_LT(took_, absl::Seconds(3.01));
  });
}

TEST_P(TunnelTest, AnAttemptMayBeGivenUpAtEveryStep) {
  AtEachStep([this] {
    attempt_.reset();
    Run();
    EXPECT_TRUE(at_proxy_->closed().has_value());
    EXPECT_EQ(calls_, 0);
  });
  // Before the connection stands.
  attempt_ = GetParam().create(proxy())->Dial(client_.loop(), {"example.com", 443}, {},
                                              [this](auto) { ++calls_; });
  attempt_.reset();
  Run();
  EXPECT_EQ(calls_, 0);
}

TEST_P(TunnelTest, AProxyThatEndsTheConnectionIsUnavailableAtEveryStep) {
  AtEachStep([this] {
    at_proxy_->stream().Close();
    Run();
    EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(Error(), HasSubstr("the proxy ended the connection"));
  });
  AtEachStep([this] {
    at_proxy_->Destroy();
    Run();
    EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(Error(), StartsWith("proxy 10.0.0.1:3128: "));
  });
}

TEST_P(TunnelTest, ALoopThatDrainsEndsTheAttempt) {
  DialProxy();
  bool drained = false;
  client_.loop().Drain(absl::Seconds(1), [&] { drained = true; });
  Run();
  EXPECT_EQ(status_.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(drained);
}

TEST_P(TunnelTest, AnEndpointThatAProxyCannotBeToldIsRefused) {
  for (const Endpoint& endpoint :
       {Endpoint{"", 1}, Endpoint{std::string(256, 'a'), 1}, Endpoint{"a\r\nX: y", 1},
        Endpoint{"a b", 1}, Endpoint{"a", 0}, Endpoint{"fe80::1%1", 1}, Endpoint{"a/b", 1},
        Endpoint{"user@a", 1}, Endpoint{std::string("a\0b", 3), 1}}) {
    DialProxy(endpoint);
    EXPECT_EQ(status_.code(), absl::StatusCode::kInvalidArgument) << endpoint.ToString();
    EXPECT_EQ(at_proxy_, nullptr);
  }
}

INSTANTIATE_TEST_SUITE_P(
    AllProxies, TunnelTest,
    testing::Values(HttpConnect("HttpConnect", "HTTP/1.1 200 OK\r\n\r\n"),
                    // It means nothing there (RFC 9110 section 9.3.6).
                    HttpConnect("HttpConnectWithALength",
                                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"),
                    Socks5("Socks5BoundToIpv4", "\x01\x7f\x00\x00\x01"),
                    Socks5("Socks5BoundToIpv6",
                           "\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x01"),
                    Socks5("Socks5BoundToAName", "\x03\x05proxy"),
                    Socks5("Socks5BoundToNoName", "\x03\x00"),
                    Socks5("Socks5BoundToALongName", "\x03\xff", std::string(255, 'x'))),
    [](const testing::TestParamInfo<Kind>& kind) { return kind.param.name; });

}  // namespace
}  // namespace sluice::proxy
