#include "sluice/protocols/proxy/http_connect.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/proxy/internal/dial_fixture.h"

namespace sluice::proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Options = HttpConnectDialer::Options;

class HttpConnectTest : public internal::DialFixture {
 protected:
  HttpConnectTest() { options_.proxy = proxy(); }

  void DialProxy(const Endpoint& endpoint = {"example.com", 443}, const DialOptions& options = {}) {
    const auto dialer = HttpConnectDialer::Create(options_);
    ASSERT_TRUE(dialer.ok()) << dialer.status();
    Dial(**dialer, endpoint, options);  // and the dialer goes
  }
  void DialAndAnswer(absl::string_view answer) {
    DialProxy();
    Answer(answer);
  }

  Options options_;
};

TEST_F(HttpConnectTest, HeaderExample) {
  EventLoop& loop = client_.loop();
  const auto done = [](absl::StatusOr<std::unique_ptr<Stream>>) {};

  const auto example = [&]() -> absl::Status {
    proxy::HttpConnectDialer::Options options;
    options.proxy = {.host = "10.0.0.1", .port = 3128};
    options.user = "me";
    options.password = "secret";
    auto dialer = proxy::HttpConnectDialer::Create(options);
    if (!dialer.ok()) return dialer.status();
    auto attempt = (*dialer)->Dial(loop, {.host = "example.com", .port = 443}, {}, done);
    Run();
    return absl::OkStatus();
  };

  EXPECT_EQ(example(), absl::OkStatus());
  EXPECT_THAT(Asked(), StartsWith("CONNECT example.com:443 HTTP/1.1\r\n"));
}

TEST_F(HttpConnectTest, ARequestNamesTheEndpointTwice) {
  DialProxy();
  EXPECT_EQ(Asked(), "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
  DialProxy({"2001:db8::1", 80});
  EXPECT_EQ(Asked(), "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n");
}

TEST_F(HttpConnectTest, UserAndPasswordAndFurtherHeadersAreSent) {
  options_.user = "Aladdin";
  options_.password = "open sesame";
  options_.headers = {{"User-Agent", "x"}, {"X-A", ""}};
  DialProxy();
  EXPECT_EQ(Asked(),
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n"
            "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"
            "User-Agent: x\r\nX-A: \r\n\r\n");
}

TEST_F(HttpConnectTest, AnyStatusOfTheClass200Opens) {
  for (const char* answer :
       {"HTTP/1.1 200 Connection established\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 204\r\nServer: x\r\n\r\n", "HTTP/1.1 299 \r\n\r\n"}) {
    DialAndAnswer(answer);
    EXPECT_TRUE(opened()) << answer << status_;
  }
}

TEST_F(HttpConnectTest, InterimAnswersArePassedOverButNotForEver) {
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  DialAndAnswer(absl::StrCat(interim, interim, "HTTP/1.1 200 OK\r\n\r\nrest"));
  ASSERT_TRUE(opened());
  EXPECT_EQ(Received(), "rest");
  DialProxy();
  for (int i = 0; i < 9; ++i) Answer(interim);
  EXPECT_THAT(Error(), HasSubstr("never comes to the point"));
}

TEST_F(HttpConnectTest, ARefusalIsToldWithItsStatus) {
  const struct {
    const char* status;
    absl::StatusCode code;
  } cases[] = {
      {"301 Moved", absl::StatusCode::kFailedPrecondition},
      {"400 Bad", absl::StatusCode::kFailedPrecondition},
      {"403 Forbidden", absl::StatusCode::kPermissionDenied},
      {"404 Not Found", absl::StatusCode::kNotFound},
      {"429 Slow Down", absl::StatusCode::kResourceExhausted},
      {"502 Bad Gateway", absl::StatusCode::kUnavailable},
      {"504 Gateway Timeout", absl::StatusCode::kUnavailable},
  };
  for (const auto& c : cases) {
    DialAndAnswer(absl::StrCat("HTTP/1.1 ", c.status, "\r\nContent-Length: 2\r\n\r\nno"));
    EXPECT_EQ(status_.code(), c.code) << c.status;
    EXPECT_EQ(Error(), absl::StrCat("proxy 10.0.0.1:3128: CONNECT example.com:443: refused with ",
                                    c.status));
    EXPECT_EQ(at_proxy_->closed().has_value(), true);
  }
  DialAndAnswer("HTTP/1.1 502\r\n\r\n");
  EXPECT_THAT(Error(), HasSubstr("502 Server Error"));
}

TEST_F(HttpConnectTest, AWishForAuthenticationIsClear) {
  DialAndAnswer("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
  EXPECT_EQ(status_.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(Error(), HasSubstr("the proxy wants a user name and password"));
  options_.user = "me";
  for (const char* status : {"407 Proxy Authentication Required", "401 Unauthorized"}) {
    DialAndAnswer(absl::StrCat("HTTP/1.1 ", status, "\r\n\r\n"));
    EXPECT_EQ(status_.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(Error(), HasSubstr("does not accept this user name and password"));
  }
}

TEST_F(HttpConnectTest, WhatIsNoAnswerIsRefused) {
  for (const char* answer :
       {"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\n\n", "\r\n\r\n", "HTTP/1.1 2000\r\n\r\n",
        "HTTP/1.1 20\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1 600 x\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "\x05\xff\x05\xff",
        "HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n"}) {
    DialAndAnswer(answer);
    EXPECT_EQ(status_.code(), absl::StatusCode::kFailedPrecondition) << answer << status_;
    EXPECT_THAT(Error(), HasSubstr("10.0.0.1:3128: CONNECT example.com:443: the answer is wrong"));
  }
}

TEST_F(HttpConnectTest, AnAnswerIsBounded) {
  options_.max_head_bytes = 100;
  options_.max_headers = 3;
  DialAndAnswer(absl::StrCat("HTTP/1.1 200 OK\r\nX: ", std::string(100, 'x')));
  EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Error(), HasSubstr("over 100 bytes"));
  DialAndAnswer("HTTP/1.1 200 OK\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n");
  EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Error(), HasSubstr("more than 3 headers"));
}

TEST_F(HttpConnectTest, AProxyThatIsNotThereIsNamed) {
  listener_.reset();
  DialProxy();
  EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Error(), StartsWith("proxy 10.0.0.1:3128: CONNECT example.com:443: "));
}

TEST_F(HttpConnectTest, OneDeadlineIsForTheConnectionAndTheAnswer) {
  network_.SetLink(proxy_host_, client_, {.latency = absl::Milliseconds(1200)});
  DialProxy({"example.com", 443}, {.timeout = absl::Seconds(3)});
  network_.RunFor(absl::Seconds(4));  // the connection takes 2.4 s
  EXPECT_EQ(status_.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Error(), HasSubstr("CONNECT example.com:443: no answer within 3s"));
  EXPECT_GE(took_, absl::Seconds(3));
  EXPECT_LT(took_, absl::Seconds(3.01));
}

TEST_F(HttpConnectTest, ADeadlineIsNotMovedByBytes) {
  DialProxy({"example.com", 443}, {.timeout = absl::Seconds(3)});
  for (int i = 0; i < 8; ++i) {
    if (at_proxy_->closed().has_value()) break;
    Answer(i == 0 ? "HTTP/1.1 200 " : "x");
    network_.RunFor(absl::Milliseconds(500));
  }
  EXPECT_EQ(status_.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(took_, absl::Seconds(3.01));
}

TEST_F(HttpConnectTest, AfterTheOpeningThereIsNoDeadline) {
  DialProxy({"example.com", 443}, {.timeout = absl::Seconds(3)});
  Answer("HTTP/1.1 200 OK\r\n\r\n");
  ASSERT_TRUE(opened());
  network_.RunFor(absl::Seconds(10));
  EXPECT_FALSE(at_proxy_->closed().has_value());
  EXPECT_EQ(calls_, 1);
}

TEST_F(HttpConnectTest, OptionsThatWouldSmuggleSomethingInAreRefused) {
  const auto error = [this] { return HttpConnectDialer::Create(options_).status(); };
  const auto refused = [&](absl::string_view what) {
    EXPECT_EQ(error().code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(std::string(error().message()), HasSubstr(std::string(what)));
    options_ = Options();
    options_.proxy = proxy();
  };
  options_.proxy.host = "a\r\nb";
  refused("is no host");
  options_.proxy.port = 0;
  refused("the port must be");
  options_.user = "a:b";
  refused("a user name must not have ':'");
  options_.user = "a\r\n";
  refused("a user name must not have");
  options_.user = "a";
  options_.password = "b\n";
  refused("a password must not have control characters");
  options_.password = "b";
  refused("no user name");
  for (const char* name : {"", "a b", "a:", "Host", "content-length", "Transfer-Encoding"}) {
    options_.headers = {{name, "x"}};
    refused("the header");
  }
  options_.headers = {{"X-A", "x\r\nX-B: y"}};
  refused("the header \"X-A\"");
  options_.user = "a";
  options_.headers = {{"Proxy-Authorization", "Bearer x"}};
  refused("the header");
  options_.headers = {{"Proxy-Authorization", "Bearer x"}};
  EXPECT_EQ(error(), absl::OkStatus());
}

}  // namespace
}  // namespace sluice::proxy
