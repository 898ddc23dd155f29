#include "sluice/core/internal/address_info.h"

#include <netdb.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusCode CodeOf(int code, int error = 0) {
  return FromAddressInfo("a.example", code, error, nullptr).status().code();
}

TEST(AddressInfoTest, ErrorsTellWhetherTheNameMayBeThere) {
  EXPECT_EQ(CodeOf(EAI_NONAME), absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(EAI_AGAIN), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(EAI_FAIL), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(EAI_MEMORY), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(EAI_SYSTEM, EMFILE), absl::StatusCode::kResourceExhausted);
  // Not "there is no such name": a file of the system's is not there.
  EXPECT_EQ(CodeOf(EAI_SYSTEM, ENOENT), absl::StatusCode::kUnavailable);
}

TEST(AddressInfoTest, AnErrorNamesTheHostAndTheCause) {
  EXPECT_THAT(FromAddressInfo("a.example", EAI_AGAIN, 0, nullptr).status().ToString(),
              HasSubstr("a.example: Temporary failure in name resolution"));
  EXPECT_THAT(FromAddressInfo("a.example", EAI_SYSTEM, EMFILE, nullptr).status().ToString(),
              HasSubstr("a.example: Too many open files"));
}

#ifdef EAI_NODATA
TEST(AddressInfoTest, ANameWithoutAddressesOfTheFamilyIsNoError) {
  EXPECT_THAT(*FromAddressInfo("a.example", EAI_NODATA, 0, nullptr), IsEmpty());
}
#endif

TEST(AddressInfoTest, EachAddressComesOnceInOrder) {
  std::vector<SocketAddress> addresses = {*SocketAddress::Parse("10.0.0.2:80"),
                                          *SocketAddress::Parse("10.0.0.1:80"),
                                          *SocketAddress::Parse("10.0.0.2:443")};
  addrinfo* list = nullptr;
  std::vector<addrinfo> infos(addresses.size());
  for (size_t i = addresses.size(); i-- > 0;) {
    infos[i].ai_addr = const_cast<sockaddr*>(addresses[i].data());
    infos[i].ai_addrlen = addresses[i].length();
    infos[i].ai_next = list;
    list = &infos[i];
  }
  EXPECT_THAT(
      *FromAddressInfo("a.example", 0, 0, list),
      ElementsAre(*SocketAddress::Parse("10.0.0.2:0"), *SocketAddress::Parse("10.0.0.1:0")));
}

// Without a network: of /etc/hosts.
TEST(AddressInfoTest, TheSystemKnowsLocalhost) {
  const auto addresses = AskSystem("localhost", SocketAddress::Family::kIpv4);
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  EXPECT_THAT(*addresses, ElementsAre(SocketAddress::Ipv4Loopback(0)));
}

}  // namespace
}  // namespace sluice::internal
