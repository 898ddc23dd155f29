#include "sluice/protocols/proxy/socks5.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
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
using Options = Socks5Dialer::Options;

// Bytes with zeros among them.
template <size_t N>
std::string Bytes(const char (&literal)[N]) {
  return std::string(literal, N - 1);
}

const std::string& Reply() {
  static const auto* const reply =
      new std::string(Bytes("\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90"));
  return *reply;
}

class Socks5Test : public internal::DialFixture {
 protected:
  Socks5Test() { options_.proxy = proxy(); }

  void DialProxy(const Endpoint& endpoint = {"example.com", 443}) {
    const auto dialer = Socks5Dialer::Create(options_);
    ASSERT_TRUE(dialer.ok()) << dialer.status();
    Dial(**dialer, endpoint);  // and the dialer goes
  }
  // To the request, without authentication.
  void DialToRequest(const Endpoint& endpoint = {"example.com", 443}) {
    DialProxy(endpoint);
    EXPECT_EQ(Asked(), Bytes("\x05\x01\x00"));
    Answer(Bytes("\x05\x00"));
  }

  Options options_;
};

TEST_F(Socks5Test, HeaderExample) {
  EventLoop& loop = client_.loop();
  const auto done = [](absl::StatusOr<std::unique_ptr<Stream>>) {};

  const auto example = [&]() -> absl::Status {
    proxy::Socks5Dialer::Options options;
    options.proxy = {.host = "10.0.0.1", .port = 1080};
    auto dialer = proxy::Socks5Dialer::Create(options);
    if (!dialer.ok()) return dialer.status();
    auto attempt = (*dialer)->Dial(loop, {.host = "example.com", .port = 443}, {}, done);
    return absl::OkStatus();
  };

  EXPECT_EQ(example(), absl::OkStatus());
}

TEST_F(Socks5Test, NamesAreSentAsNamesAndAddressesAsAddresses) {
  DialToRequest({"example.com", 443});
  EXPECT_EQ(Asked(), Bytes("\x05\x01\x00\x03\x0b"
                           "example.com\x01\xbb"));
  DialToRequest({"192.0.2.7", 80});
  EXPECT_EQ(Asked(), Bytes("\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"));
  DialToRequest({"2001:db8::1", 80});
  EXPECT_EQ(Asked(), Bytes("\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x01\x00\x50"));
  const std::string longest(255, 'a');
  DialToRequest({longest, 80});
  EXPECT_EQ(Asked(), absl::StrCat(Bytes("\x05\x01\x00\x03\xff"), longest, Bytes("\x00\x50")));
}

TEST_F(Socks5Test, UserAndPasswordAreSentWhenTheProxyWantsThem) {
  options_.user = "me";
  options_.password = "secret";
  DialProxy();
  EXPECT_EQ(Asked(), Bytes("\x05\x02\x00\x02"));
  AnswerByteByByte(Bytes("\x05\x02"));
  EXPECT_EQ(Asked(), Bytes("\x01\x02me\x06secret"));
  AnswerByteByByte(Bytes("\x01\x00"));
  EXPECT_THAT(Asked(), StartsWith(Bytes("\x05\x01\x00\x03")));
  Answer(Reply());
  EXPECT_TRUE(opened());
}

TEST_F(Socks5Test, UserAndPasswordAreNotSentWhenTheProxyDoesNot) {
  options_.user = "me";
  options_.password = "secret";
  DialProxy();
  Asked();
  Answer(Bytes("\x05\x00"));
  EXPECT_THAT(Asked(), StartsWith(Bytes("\x05\x01\x00\x03")));
}

TEST_F(Socks5Test, ARefusedUserIsDenied) {
  options_.user = "me";
  options_.password = "wrong";
  DialProxy();
  Answer(Bytes("\x05\x02"));
  Answer(Bytes("\x01\x01"));
  EXPECT_EQ(status_.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(Error(), HasSubstr("does not accept this user name and password"));
}

TEST_F(Socks5Test, AProxyThatAcceptsNoMethodIsClear) {
  DialProxy();
  Answer(Bytes("\x05\xff"));
  EXPECT_EQ(status_.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(Error(), HasSubstr("wants authentication, and there is no user name"));
  options_.user = "me";
  options_.password = "secret";
  DialProxy();
  Answer(Bytes("\x05\xff"));
  EXPECT_EQ(status_.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(Error(), HasSubstr("neither a user name and password nor none"));
}

TEST_F(Socks5Test, EveryReplyCodeIsNamed) {
  const struct {
    int reply;
    absl::StatusCode code;
    const char* why;
  } cases[] = {
      {1, absl::StatusCode::kUnavailable, "general SOCKS server failure"},
      {2, absl::StatusCode::kPermissionDenied, "not allowed by ruleset"},
      {3, absl::StatusCode::kUnavailable, "network unreachable"},
      {4, absl::StatusCode::kUnavailable, "host unreachable"},
      {5, absl::StatusCode::kUnavailable, "connection refused"},
      {6, absl::StatusCode::kUnavailable, "TTL expired"},
      {7, absl::StatusCode::kFailedPrecondition, "command not supported"},
      {8, absl::StatusCode::kFailedPrecondition, "address type not supported"},
      {9, absl::StatusCode::kFailedPrecondition, "not assigned"},
      {255, absl::StatusCode::kFailedPrecondition, "not assigned"},
  };
  for (const auto& c : cases) {
    DialToRequest();
    // Some proxies stop here.
    Answer(std::string{5, static_cast<char>(c.reply), 0, 1});
    EXPECT_EQ(status_.code(), c.code) << c.reply;
    EXPECT_THAT(Error(), StartsWith(absl::StrCat(
                             "proxy 10.0.0.1:3128: SOCKS5 to example.com:443: refused with ",
                             c.reply, ": ")));
    EXPECT_THAT(Error(), HasSubstr(c.why));
    EXPECT_TRUE(at_proxy_->closed().has_value());
  }
}

TEST_F(Socks5Test, WhatIsNoAnswerIsRefused) {
  DialProxy();
  Answer("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_EQ(status_.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Error(), HasSubstr("does not speak SOCKS5: its answer has the version 0x48"));
  for (const std::string& method : {Bytes("\x05\x01"), Bytes("\x05\x02"), Bytes("\x05\x80")}) {
    DialProxy();
    Answer(method);
    EXPECT_EQ(status_.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(Error(), HasSubstr("which was not offered"));
  }
  DialToRequest();
  Answer(Bytes("\x04\x00\x00\x01"));
  EXPECT_THAT(Error(), HasSubstr("the version 0x04"));
  DialToRequest();
  Answer(Bytes("\x05\x00\x00\x02"));
  EXPECT_EQ(status_.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Error(), HasSubstr("address type 0x02"));
  options_.user = "me";
  options_.password = "secret";
  DialProxy();
  Answer(Bytes("\x05\x02"));
  Answer(Bytes("\x05\x00"));
  EXPECT_EQ(status_.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Error(), HasSubstr("malformed: version 5"));
}

TEST_F(Socks5Test, OptionsThatCannotBeSentAreRefused) {
  const auto refused = [](const Options& options, absl::string_view what) {
    const absl::Status status = Socks5Dialer::Create(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(what)));
  };
  refused({.proxy = {"a b", 1}}, "is no host");
  refused({.proxy = {"a", 0}}, "the port");
  refused({.proxy = proxy(), .user = std::string(256, 'a'), .password = "x"}, "at most 255");
  refused({.proxy = proxy(), .user = "x", .password = std::string(256, 'a')}, "at most 255");
  refused({.proxy = proxy(), .user = "x"}, "go together");
  refused({.proxy = proxy(), .password = "x"}, "go together");
  EXPECT_TRUE(
      Socks5Dialer::Create(
          {.proxy = proxy(), .user = std::string(255, 'a'), .password = std::string(255, 'b')})
          .ok());
}

}  // namespace
}  // namespace sluice::proxy
