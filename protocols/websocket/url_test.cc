#include "sluice/protocols/websocket/url.h"

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "sluice/protocols/websocket/client_handshake.h"

namespace sluice::websocket {
namespace {

std::string Show(absl::string_view text) {
  const absl::StatusOr<Url> url = ParseUrl(text);
  if (!url.ok()) {
    EXPECT_TRUE(absl::IsInvalidArgument(url.status()));
    return "invalid";
  }
  return absl::StrCat(url->secure ? "tls " : "", url->host, " ", url->port, " ", url->target,
                      " Host:", HostHeader(*url));
}

TEST(UrlTest, HeaderExample) {
  ClientHandshake::Options options;
  std::string resolved;
  const auto Resolve = [&](absl::string_view host, uint16_t port) {
    resolved = absl::StrCat(host, ", ", port);
  };
  absl::StatusOr<Url> url = ParseUrl("wss://example.com/chat?room=1");
  Resolve(url->host, url->port);
  options.host = HostHeader(*url);
  options.target = url->target;
  EXPECT_EQ(resolved, "example.com, 443");
  EXPECT_EQ(options.host, "example.com");
  EXPECT_EQ(options.target, "/chat?room=1");
}

TEST(UrlTest, Section3Parts) {
  EXPECT_EQ(Show("ws://example.com"), "example.com 80 / Host:example.com");
  EXPECT_EQ(Show("wss://example.com/"), "tls example.com 443 / Host:example.com");
  EXPECT_EQ(Show("ws://h:9000/a/b?c=d"), "h 9000 /a/b?c=d Host:h:9000");
  EXPECT_EQ(Show("ws://h?c=d"), "h 80 /?c=d Host:h");
  EXPECT_EQ(Show("ws://127.0.0.1:1/"), "127.0.0.1 1 / Host:127.0.0.1:1");
  EXPECT_EQ(Show("WSS://Example.COM/Path"), "tls example.com 443 /Path Host:example.com");
}

TEST(UrlTest, ThePortIsNamedOnlyIfItIsNotTheSchemesOwn) {
  EXPECT_EQ(Show("ws://h:80/"), "h 80 / Host:h");
  EXPECT_EQ(Show("ws://h:/"), "h 80 / Host:h");
  EXPECT_EQ(Show("ws://h:443/"), "h 443 / Host:h:443");
  EXPECT_EQ(Show("wss://h:443/"), "tls h 443 / Host:h");
  EXPECT_EQ(Show("wss://h:80/"), "tls h 80 / Host:h:80");
}

TEST(UrlTest, Ipv6AddressesStandInBrackets) {
  EXPECT_EQ(Show("ws://[::1]/x"), "::1 80 /x Host:[::1]");
  EXPECT_EQ(Show("wss://[2001:DB8::1]:8443"), "tls 2001:db8::1 8443 / Host:[2001:db8::1]:8443");
  for (absl::string_view bad : {"ws://[::1", "ws://[]/", "ws://[::1]x/", "ws://[fe80::1%eth0]/",
                                "ws://::1/", "ws://[h]/", "ws://[::1]:x/"}) {
    EXPECT_EQ(Show(bad), "invalid") << bad;
  }
}

TEST(UrlTest, WhatItDoesNotTakeIsRefused) {
  for (absl::string_view bad : {"",
                                "example.com",
                                "http://h/",
                                "ws:/h/",
                                "ws://",
                                "ws:///x",
                                "ws://:80/",
                                "ws://h:0/",
                                "ws://h:65536/",
                                "ws://h:-1/",
                                "ws://h:+1/",
                                "ws://h:8x/",
                                "ws://h:80:80/",
                                "ws://h/#frag",
                                "ws://h#",
                                "ws://user@h/",
                                "ws://user:pass@h/",
                                "ws://h h/",
                                "ws://h/a b",
                                "ws://h/a\r\nb",
                                "ws://caf\xc3\xa9/",
                                "ws://h/caf\xc3\xa9",
                                "ws://h%41/",
                                " ws://h/"}) {
    EXPECT_EQ(Show(bad), "invalid") << bad;
  }
}

}  // namespace
}  // namespace sluice::websocket
