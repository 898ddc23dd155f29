#include "sluice/core/socket_address.h"

#include <netinet/in.h>
#include <sys/un.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using Family = SocketAddress::Family;

SocketAddress Parsed(absl::string_view text) {
  absl::StatusOr<SocketAddress> address = SocketAddress::Parse(text);
  EXPECT_TRUE(address.ok()) << address.status();
  return address.value_or(SocketAddress());
}

TEST(SocketAddressTest, HeaderExample) {
  absl::StatusOr<SocketAddress> address = SocketAddress::Parse("[::1]:9000");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(address->ToString(), "[::1]:9000");
}

TEST(SocketAddressTest, ParsesWhatItPrints) {
  for (const char* text : {"127.0.0.1:9000", "0.0.0.0:0", "255.255.255.255:65535", "[::]:1",
                           "[::1]:9000", "[2001:db8::7]:443", "[fe80::1%1]:80",
                           "unix:/tmp/a socket", "unix:relative", "unix:@abstract"}) {
    EXPECT_EQ(Parsed(text).ToString(), text);
  }
}

TEST(SocketAddressTest, KnowsItsParts) {
  EXPECT_EQ(Parsed("127.0.0.1:9000").family(), Family::kIpv4);
  EXPECT_EQ(Parsed("127.0.0.1:9000").port(), 9000);
  EXPECT_TRUE(Parsed("127.0.0.1:9000").is_ip());
  EXPECT_EQ(Parsed("[::1]:80").family(), Family::kIpv6);
  EXPECT_EQ(Parsed("[::1]:80").port(), 80);
  EXPECT_EQ(Parsed("*:80").ToString(), "[::]:80");
  EXPECT_EQ(Parsed("unix:/run/x").family(), Family::kUnix);
  EXPECT_EQ(Parsed("unix:/run/x").path(), "/run/x");
  EXPECT_EQ(Parsed("unix:@x").path(), "@x");
  EXPECT_EQ(Parsed("unix:/run/x").port(), 0);
  EXPECT_FALSE(Parsed("unix:/run/x").is_ip());
  EXPECT_EQ(SocketAddress().family(), Family::kNone);
  EXPECT_EQ(SocketAddress().ToString(), "(none)");
  EXPECT_EQ(SocketAddress::Ipv4Loopback(7).ToString(), "127.0.0.1:7");
  EXPECT_EQ(SocketAddress::Ipv6Loopback(7).ToString(), "[::1]:7");
}

TEST(SocketAddressTest, RefusesWithAReasonAndWhatIsAccepted) {
  const std::string long_path = absl::StrCat("unix:/", std::string(107, 'x'));
  const struct {
    std::string text;
    const char* reason;
  } kCases[] = {
      {"", "no port"},
      {"127.0.0.1", "no port"},
      {"127.0.0.1:", "the port is \"\""},
      {"127.0.0.1:-1", "the port is \"-1\""},
      {"127.0.0.1:+1", "the port is \"+1\""},
      {"127.0.0.1: 1", "the port is \" 1\""},
      {"127.0.0.1:65536", "0 to 65535"},
      {"127.0.0.1:99999999999", "0 to 65535"},
      {"127.0.0.1:http", "the port is \"http\""},
      {"256.0.0.1:80", "not a literal address"},
      {"127.1:80", "not a literal address"},
      {":80", "not a literal address"},
      {"example.com:80", "not a literal address"},
      {"::1:80", "in brackets"},
      {"[::1:80", "not closed"},
      {"[]:80", "not closed"},
      {"[1.2.3.4]:80", "IPv6 address does not parse"},
      {"[::g]:80", "IPv6 address does not parse"},
      {"[fe80::1%nosuchinterface]:80", "no interface \"nosuchinterface\""},
      {"[fe80::1%]:80", "no interface"},
      {"unix:", "path is empty"},
      {"unix:@", "path is empty"},
      {long_path, "has 108 bytes and may have 107"},
      {std::string("unix:/a\0b", 9), "zero byte"},
  };
  for (const auto& each : kCases) {
    const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(each.text);
    ASSERT_FALSE(address.ok()) << each.text;
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(address.status().message().find(each.reason), absl::string_view::npos)
        << address.status();
    EXPECT_NE(address.status().message().find("127.0.0.1:9000"), absl::string_view::npos)
        << address.status();
  }
}

TEST(SocketAddressTest, TheLongestPathFits) {
  const std::string path = absl::StrCat("/", std::string(106, 'x'));
  EXPECT_EQ(Parsed(absl::StrCat("unix:", path)).path(), path);
}

TEST(SocketAddressTest, WithPortChangesOnlyThePortOfAnIpAddress) {
  EXPECT_EQ(Parsed("1.2.3.4:0").WithPort(9).ToString(), "1.2.3.4:9");
  EXPECT_EQ(Parsed("[::1]:0").WithPort(9).ToString(), "[::1]:9");
  EXPECT_EQ(Parsed("unix:/x").WithPort(9).ToString(), "unix:/x");
}

TEST(SocketAddressTest, KnowsWhetherItIsNoHostInParticular) {
  for (const char* any : {"0.0.0.0:0", "0.0.0.0:80", "[::]:0", "*:80"})
    EXPECT_TRUE(SocketAddress::Parse(any)->is_any()) << any;
  for (const char* one : {"0.0.0.1:0", "127.0.0.1:80", "[::1]:0", "[::ffff:0.0.0.0]:0", "unix:/a"})
    EXPECT_FALSE(SocketAddress::Parse(one)->is_any()) << one;
  EXPECT_FALSE(SocketAddress().is_any());
}

TEST(SocketAddressTest, UnmappedChangesOnlyIpv4AsIpv6) {
  EXPECT_EQ(SocketAddress::Parse("[::ffff:10.0.0.1]:80")->Unmapped().ToString(), "10.0.0.1:80");
  for (const char* other : {"10.0.0.1:80", "[::1]:80", "[::a00:1]:80", "unix:/a"}) {
    const SocketAddress address = *SocketAddress::Parse(other);
    EXPECT_EQ(address.Unmapped(), address) << other;
  }
  EXPECT_EQ(SocketAddress().Unmapped(), SocketAddress());
}

TEST(SocketAddressTest, EqualityIsOfFamilyHostAndPort) {
  EXPECT_EQ(Parsed("1.2.3.4:5"), Parsed("1.2.3.4:5"));
  EXPECT_FALSE(Parsed("1.2.3.4:5") == Parsed("1.2.3.4:6"));
  EXPECT_FALSE(Parsed("1.2.3.4:5") == Parsed("1.2.3.5:5"));
  EXPECT_EQ(Parsed("[::1]:5"), Parsed("[0:0::1]:5"));
  EXPECT_FALSE(Parsed("[fe80::1%1]:5") == Parsed("[fe80::1%2]:5"));
  EXPECT_EQ(Parsed("unix:/a"), Parsed("unix:/a"));
  EXPECT_FALSE(Parsed("unix:/a") == Parsed("unix:@a"));
  EXPECT_EQ(SocketAddress(), SocketAddress());
}

TEST(SocketAddressTest, RoundTripsThroughSockaddr) {
  for (const char* text : {"1.2.3.4:5", "[::1]:6", "unix:/x", "unix:@y"}) {
    const SocketAddress address = Parsed(text);
    EXPECT_EQ(SocketAddress::FromSockaddr(address.data(), address.length()), address);
  }
}

TEST(SocketAddressTest, RefusesTruncatedAndForeignSockaddrs) {
  sockaddr_in ipv4 = {};
  ipv4.sin_family = AF_INET;
  const auto* generic = reinterpret_cast<const sockaddr*>(&ipv4);
  EXPECT_EQ(SocketAddress::FromSockaddr(generic, sizeof(ipv4) - 1).family(), Family::kNone);
  EXPECT_EQ(SocketAddress::FromSockaddr(generic, 0).family(), Family::kNone);
  EXPECT_EQ(SocketAddress::FromSockaddr(nullptr, 16).family(), Family::kNone);
  ipv4.sin_family = AF_PACKET;
  EXPECT_EQ(SocketAddress::FromSockaddr(generic, sizeof(ipv4)).family(), Family::kNone);
  // An unnamed Unix socket, such as a connecting one has.
  sockaddr_un unnamed = {};
  unnamed.sun_family = AF_UNIX;
  const SocketAddress address =
      SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&unnamed), sizeof(sa_family_t));
  EXPECT_EQ(address.family(), Family::kUnix);
  EXPECT_EQ(address.path(), "");
}

}  // namespace
}  // namespace sluice
