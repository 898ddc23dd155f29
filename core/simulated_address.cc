#include "sluice/core/simulated_address.h"

#include <netinet/in.h>

#include <cstring>

namespace sluice::internal {
namespace {

using Family = SocketAddress::Family;

uint32_t Ipv4Of(const SocketAddress& address) {
  sockaddr_in ipv4;
  std::memcpy(&ipv4, address.data(), sizeof(ipv4));
  return ntohl(ipv4.sin_addr.s_addr);
}

in6_addr Ipv6Of(const SocketAddress& address) {
  sockaddr_in6 ipv6;
  std::memcpy(&ipv6, address.data(), sizeof(ipv6));
  return ipv6.sin6_addr;
}

}  // namespace

bool IsLoopback(const SocketAddress& address) {
  if (!address.is_ip() || address.is_any()) return true;
  if (address.family() == Family::kIpv4) return Ipv4Of(address) >> 24 == IN_LOOPBACKNET;
  const in6_addr ipv6 = Ipv6Of(address);
  return IN6_IS_ADDR_LOOPBACK(&ipv6);
}

bool IsBroadcast(const SocketAddress& address) {
  return address.family() == Family::kIpv4 && Ipv4Of(address) == INADDR_BROADCAST;
}

bool IsMulticast(const SocketAddress& address) {
  if (address.family() == Family::kIpv4) return IN_MULTICAST(Ipv4Of(address));
  if (address.family() != Family::kIpv6) return false;
  const in6_addr ipv6 = Ipv6Of(address);
  return IN6_IS_ADDR_MULTICAST(&ipv6);
}

SocketAddress Mapped(const SocketAddress& address) {
  if (address.family() != Family::kIpv4) return address;
  sockaddr_in6 ipv6 = {};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(address.port());
  ipv6.sin6_addr.s6_addr[10] = ipv6.sin6_addr.s6_addr[11] = 0xff;
  const uint32_t ipv4 = htonl(Ipv4Of(address));
  std::memcpy(&ipv6.sin6_addr.s6_addr[12], &ipv4, sizeof(ipv4));
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&ipv6), sizeof(ipv6));
}

SocketAddress HostOf(const SocketAddress& address) { return address.Unmapped().WithPort(0); }

}  // namespace sluice::internal
