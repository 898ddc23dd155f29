#include "sluice/tools/url.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/socket_address.h"

namespace sluice::tools {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

const std::vector<UrlScheme>& Schemes() {
  static const auto* const kSchemes = new std::vector<UrlScheme>{
      {.name = "tcp"}, {.name = "frame"}, {.name = "ws", .default_port = 80, .has_target = true}};
  return *kSchemes;
}

// With TLS.
const std::vector<UrlScheme>& AllSchemes() {
  static const auto* const kSchemes = new std::vector<UrlScheme>{
      {.name = "tcp"},
      {.name = "ws", .default_port = 80, .has_target = true},
      {.name = "tls", .encrypted = true},
      {.name = "wss", .default_port = 443, .has_target = true, .encrypted = true}};
  return *kSchemes;
}

// "scheme address authority target" of a URL, or the error.
std::string Parse(absl::string_view text, const std::vector<UrlScheme>& schemes = Schemes()) {
  const absl::StatusOr<Url> url = ParseUrl(text, schemes);
  if (!url.ok()) return std::string(url.status().message());
  const bool is_unix = url->unix_socket.family() != SocketAddress::Family::kNone;
  return absl::StrCat(url->scheme, " ",
                      is_unix ? url->unix_socket.ToString() : url->endpoint.ToString(), " ",
                      url->authority, " ", url->target);
}

TEST(UrlTest, LiteralAddresses) {
  EXPECT_EQ(Parse("tcp://127.0.0.1:80"), "tcp 127.0.0.1:80 127.0.0.1:80 /");
  EXPECT_EQ(Parse("frame://[::1]:80"), "frame [::1]:80 [::1]:80 /");
  EXPECT_EQ(Parse("tcp://127.0.0.1:80/"), "tcp 127.0.0.1:80 127.0.0.1:80 /");
}

TEST(UrlTest, NamesStayWhatTheyAre) {
  EXPECT_EQ(Parse("tcp://localhost:81"), "tcp localhost:81 localhost:81 /");
  EXPECT_EQ(Parse("ws://www.Example_1.org./x"), "ws www.Example_1.org.:80 www.Example_1.org. /x");
}

TEST(UrlTest, WebSocketHasADefaultPortAndATarget) {
  EXPECT_EQ(Parse("ws://127.0.0.1"), "ws 127.0.0.1:80 127.0.0.1 /");
  EXPECT_EQ(Parse("ws://[::1]/chat"), "ws [::1]:80 [::1] /chat");
  EXPECT_EQ(Parse("ws://[::1]:8080/a/b?c=d:e&f=%20"), "ws [::1]:8080 [::1]:8080 /a/b?c=d:e&f=%20");
  EXPECT_EQ(Parse("ws://127.0.0.1?x=1"), "ws 127.0.0.1:80 127.0.0.1 /?x=1");
}

TEST(UrlTest, ASchemeMayHaveNoUnixSockets) {
  const std::vector<UrlScheme> schemes = {{.name = "tcp"}, {.name = "udp", .has_unix = false}};
  EXPECT_EQ(Parse("udp://[::1]:80", schemes), "udp [::1]:80 [::1]:80 /");
  EXPECT_THAT(Parse("udp+unix:///socket", schemes), HasSubstr("is not spoken over Unix sockets"));
  EXPECT_EQ(AcceptedUrls(schemes), "tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH");
}

TEST(UrlTest, UnixSockets) {
  EXPECT_EQ(Parse("unix:///run/a:b.sock"), "tcp unix:/run/a:b.sock localhost /");
  EXPECT_EQ(Parse("tcp+unix:///run/a"), "tcp unix:/run/a localhost /");
  EXPECT_EQ(Parse("frame+unix:///run/a"), "frame unix:/run/a localhost /");
  EXPECT_EQ(Parse("ws+unix:///run/a"), "ws unix:/run/a localhost /");
  EXPECT_EQ(Parse("ws+unix:///run/a:/chat?x"), "ws unix:/run/a localhost /chat?x");
  EXPECT_EQ(Parse("unix://@name"), "tcp unix:@name localhost /");
}

TEST(UrlTest, EncryptedSchemesAreLikeThePlainOnes) {
  EXPECT_EQ(Parse("tls://127.0.0.1:80", AllSchemes()), "tls 127.0.0.1:80 127.0.0.1:80 /");
  EXPECT_EQ(Parse("wss://localhost/chat", AllSchemes()), "wss localhost:443 localhost /chat");
  EXPECT_EQ(Parse("tls+unix:///run/a", AllSchemes()), "tls unix:/run/a localhost /");
  EXPECT_EQ(Parse("wss+unix:///run/a:/chat", AllSchemes()), "wss unix:/run/a localhost /chat");
  EXPECT_THAT(Parse("tls://127.0.0.1", AllSchemes()), HasSubstr("tls://127.0.0.1:PORT"));
  EXPECT_THAT(Parse("http://127.0.0.1", AllSchemes()),
              HasSubstr("tls://HOST:PORT, wss://HOST[:PORT][/PATH], unix:///PATH, "
                        "ws+unix:///PATH[:/TARGET], tls+unix:///PATH, wss+unix:"));
  for (const auto& [text, encrypted] :
       {std::pair("ws://[::1]", false), {"wss://[::1]", true}, {"tls+unix:///a", true}}) {
    const absl::StatusOr<Url> url = ParseUrl(text, AllSchemes());
    ASSERT_TRUE(url.ok()) << url.status();
    EXPECT_EQ(url->encrypted, encrypted) << text;
  }
}

TEST(UrlTest, TheHostIsWithoutPortAndBrackets) {
  for (const auto& [text, host] : {std::pair("tls://127.0.0.1:80", "127.0.0.1"),
                                   {"tls://[::1]:80", "::1"},
                                   {"wss://[::1]/a:b", "::1"},
                                   {"wss://localhost", "localhost"},
                                   {"wss://localhost:8443/x", "localhost"},
                                   {"tls+unix:///run/a", "localhost"}}) {
    const absl::StatusOr<Url> url = ParseUrl(text, AllSchemes());
    ASSERT_TRUE(url.ok()) << url.status();
    EXPECT_EQ(url->endpoint.host, host) << text;
  }
}

TEST(UrlTest, WhatIsNoUrlIsToldWhatIs) {
  const std::string accepted =
      "accepted are tcp://HOST:PORT, frame://HOST:PORT, ws://HOST[:PORT][/PATH], unix:///PATH, "
      "frame+unix:///PATH, "
      "ws+unix:///PATH[:/TARGET]";
  EXPECT_EQ(Parse("127.0.0.1"), "\"127.0.0.1\": this is not a URL; " + accepted);
  EXPECT_EQ(Parse(""), "\"\": this is not a URL; " + accepted);
  for (const char* scheme :
       {"wss", "tls", "frames", "http", "WS", "", "+unix", "wss+unix", "unix+unix"}) {
    EXPECT_EQ(Parse(absl::StrCat(scheme, "://127.0.0.1")),
              absl::StrCat("\"", scheme, "://127.0.0.1\": ", scheme,
                           ":// is not among the schemes; ", accepted));
  }
}

TEST(UrlTest, WhatIsNoHostIsRefusedWithWhatIs) {
  for (const char* host : {"*", "local host", "a,b", "a%20b", "b\xc3\xbc"}) {
    EXPECT_THAT(Parse(absl::StrCat("tcp://", host, ":80")),
                AllOf(StartsWith(absl::StrCat("\"tcp://", host, ":80\": ")),
                      HasSubstr("is no host: it must be an IPv4 or IPv6 address")));
  }
  EXPECT_THAT(Parse("tcp://[::1"), HasSubstr("the host [::1 has no closing bracket"));
  EXPECT_THAT(Parse("tcp://[nonsense]:80"), HasSubstr("nonsense is no IPv6 address"));
  EXPECT_THAT(Parse("tcp://[127.0.0.1]:80"), HasSubstr("127.0.0.1 is no IPv6 address"));
  EXPECT_THAT(Parse("tcp://::1:80"), HasSubstr("an IPv6 address stands in brackets: [::1]"));
}

TEST(UrlTest, PortsAreChecked) {
  for (const char* port : {"0", "65536", "-1", "8o", ""}) {
    EXPECT_THAT(Parse(absl::StrCat("tcp://127.0.0.1:", port)),
                HasSubstr(absl::StrCat("the port is ", port, " and must be 1 to 65535")));
  }
  EXPECT_THAT(Parse("tcp://127.0.0.1"), HasSubstr("there is no port: tcp://127.0.0.1:PORT"));
  EXPECT_THAT(Parse("frame://[::1]"), HasSubstr("there is no port: frame://[::1]:PORT"));
}

TEST(UrlTest, WhatHasNoMeaningIsRefused) {
  EXPECT_THAT(Parse("tcp://:80"), HasSubstr("there is no host"));
  EXPECT_THAT(Parse("ws:///chat"), HasSubstr("there is no host"));
  EXPECT_THAT(Parse("tcp://127.0.0.1:80/path"), HasSubstr("nothing may follow the port of tcp://"));
  EXPECT_THAT(Parse("ws://user@127.0.0.1/"), HasSubstr("a user name has no meaning here"));
  EXPECT_THAT(Parse("ws://127.0.0.1/#part"), HasSubstr("a fragment (#) has no meaning here"));
  EXPECT_THAT(Parse("ws://127.0.0.1/a b"), HasSubstr("visible ASCII"));
  EXPECT_THAT(Parse("ws://127.0.0.1/\r\nX: y"), HasSubstr("visible ASCII"));
  EXPECT_THAT(Parse("unix://run/a"), HasSubstr("begins with / or @: unix:///PATH"));
  EXPECT_THAT(Parse(absl::StrCat("unix:///", std::string(200, 'x'))), HasSubstr("107"));
}

}  // namespace
}  // namespace sluice::tools
