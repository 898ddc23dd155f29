#include "sluice/core/internal/compact_address.h"

#include <netinet/in.h>

#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {
namespace {

struct Case {
  std::string address;
  int allocations;
};

class CompactAddressTest : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(Addresses, CompactAddressTest,
                         testing::Values(Case{"127.0.0.1:0", 0}, Case{"255.255.255.255:65535", 0},
                                         Case{"0.0.0.0:80", 0}, Case{"[::ffff:10.1.2.3]:4660", 0},
                                         Case{"[::1]:9000", 1}, Case{"[::]:0", 1},
                                         Case{"[2001:db8::ffff:a01:203]:443", 1},
                                         Case{"unix:/run/a", 1},
                                         Case{"unix:@" + std::string(106, 'x'), 1}));

TEST_P(CompactAddressTest, ItComesBackAsItWas) {
  const SocketAddress address = *SocketAddress::Parse(GetParam().address);
  const int64_t before = CountAllocations().ever;
  const CompactAddress compact(address);
  const SocketAddress expanded = compact.Expand();
  EXPECT_EQ(CountAllocations().ever - before, GetParam().allocations);
  EXPECT_EQ(expanded, address);
  EXPECT_EQ(expanded.ToString(), GetParam().address);
  EXPECT_EQ(expanded.family(), address.family());
}

TEST(CompactAddressTest, NoAddressIsNone) {
  EXPECT_EQ(CompactAddress(SocketAddress()).Expand().family(), SocketAddress::Family::kNone);
}

TEST(CompactAddressTest, AScopeIsKept) {
  sockaddr_in6 ipv6 = {};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_addr.s6_addr[10] = ipv6.sin6_addr.s6_addr[11] = 0xff;
  ipv6.sin6_scope_id = 3;
  const SocketAddress address =
      SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&ipv6), sizeof(ipv6));
  const SocketAddress expanded = CompactAddress(address).Expand();
  EXPECT_EQ(reinterpret_cast<const sockaddr_in6*>(expanded.data())->sin6_scope_id, 3u);
}

}  // namespace
}  // namespace sluice::internal
