#include "sluice/core/internal/address_order.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {
namespace {

using ::testing::ElementsAre;

SocketAddress At(const std::string& host) {
  if (host.empty()) return {};
  return *SocketAddress::Parse(absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:80")
                                                            : absl::StrCat(host, ":80"));
}

using Hosts = std::vector<std::pair<std::string, std::string>>;  // destination, source

// The hosts in the order in which they come out.
std::vector<std::string> Sorted(const Hosts& hosts) {
  std::vector<Destination> destinations;
  for (const auto& [address, source] : hosts) destinations.push_back({At(address), At(source)});
  SortDestinations(destinations);
  std::vector<std::string> sorted;
  for (const Destination& destination : destinations) {
    const auto found = std::find_if(hosts.begin(), hosts.end(), [&](const auto& host) {
      return At(host.first) == destination.address;
    });
    sorted.push_back(found->first);
  }
  return sorted;
}

// Both ways round: `first` comes before `second`, however they stood.
void ExpectOrder(std::pair<std::string, std::string> first,
                 std::pair<std::string, std::string> second) {
  EXPECT_THAT(Sorted({first, second}), ElementsAre(first.first, second.first));
  EXPECT_THAT(Sorted({second, first}), ElementsAre(first.first, second.first));
}

// RFC 6724 section 10.2, but for the examples that need to know of home and deprecated addresses.
TEST(AddressOrderTest, TheExamplesOfTheRfc) {
  // Prefer matching scope.
  ExpectOrder({"2001:db8:1::1", "2001:db8:1::2"}, {"198.51.100.121", "169.254.13.78"});
  ExpectOrder({"198.51.100.121", "198.51.100.117"}, {"2001:db8:1::1", "fe80::1"});
  // Prefer higher precedence.
  ExpectOrder({"2001:db8:1::1", "2001:db8:1::2"}, {"10.1.2.3", "10.1.2.4"});
  // Prefer smaller scope.
  ExpectOrder({"fe80::1", "fe80::2"}, {"2001:db8:1::1", "2001:db8:1::2"});
  // Longest matching prefix.
  ExpectOrder({"2001:db8:1::1", "2001:db8:1::2"}, {"2001:db8:3ffe::1", "2001:db8:3f44::2"});
  // Prefer matching label.
  ExpectOrder({"2002:c633:6401::1", "2002:c633:6401::2"}, {"2001:db8:1::1", "2002:c633:6401::2"});
  // Prefer higher precedence.
  ExpectOrder({"2001:db8:1::1", "2001:db8:1::2"}, {"2002:c633:6401::1", "2002:c633:6401::2"});
}

TEST(AddressOrderTest, WhereThereIsNoWayComesLast) {
  ExpectOrder({"192.0.2.1", "192.0.2.9"}, {"2001:db8::1", ""});
  ExpectOrder({"2001:db8::2", "2001:db8::9"}, {"2001:db8::1", ""});
}

TEST(AddressOrderTest, WithoutSourcesPrecedenceAndScopeDecide) {
  EXPECT_THAT(
      Sorted({{"192.0.2.1", ""},
              {"fc00::1", ""},
              {"2001:db8::1", ""},
              {"2001::1", ""},
              {"fe80::1", ""},
              {"::1", ""},
              {"127.0.0.1", ""}}),
      ElementsAre("::1", "fe80::1", "2001:db8::1", "127.0.0.1", "192.0.2.1", "2001::1", "fc00::1"));
}

TEST(AddressOrderTest, OldAndSpecialPrefixesComeLate) {
  EXPECT_THAT(Sorted({{"::5", "::6"},
                      {"fec0::1", "fec0::2"},
                      {"3ffe::1", "3ffe::2"},
                      {"192.0.2.1", "192.0.2.2"}}),
              ElementsAre("192.0.2.1", "fec0::1", "::5", "3ffe::1"));
}

TEST(AddressOrderTest, WhatTheRulesDoNotPartKeepsItsOrder) {
  // IPv4: not even by prefix.
  EXPECT_THAT(Sorted({{"203.0.113.7", "10.0.0.1"}, {"10.0.0.2", "10.0.0.1"}}),
              ElementsAre("203.0.113.7", "10.0.0.2"));
  // IPv6: the prefix counts up to the 64 bits of a network.
  EXPECT_THAT(Sorted({{"2001:db8::7", "2001:db8::1"}, {"2001:db8::2", "2001:db8::1"}}),
              ElementsAre("2001:db8::7", "2001:db8::2"));
}

TEST(AddressOrderTest, TheSystemTalksToLoopbackFromLoopback) {
  EXPECT_EQ(SystemSourceAddress(At("127.0.0.1")).WithPort(80), At("127.0.0.1"));
}

TEST(AddressOrderTest, WhatCannotBeTalkedToHasNoSource) {
  EXPECT_EQ(SystemSourceAddress(At("255.255.255.255")).family(), SocketAddress::Family::kNone);
  EXPECT_EQ(SystemSourceAddress(SocketAddress()).family(), SocketAddress::Family::kNone);
}

}  // namespace
}  // namespace sluice::internal
