#include <netinet/in.h>

#include <cstring>

#include "sluice/protocols/proxy/internal/proxy_header.h"

namespace sluice::proxy::internal {
namespace {

using Family = SocketAddress::Family;

}  // namespace

SocketAddress IpAddress(const uint8_t* host, size_t host_size, const uint8_t* port) {
  if (host_size == sizeof(in_addr)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    std::memcpy(&address.sin_addr, host, sizeof(address.sin_addr));
    std::memcpy(&address.sin_port, port, sizeof(address.sin_port));
    return SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&address), sizeof(address));
  }
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  std::memcpy(&address.sin6_addr, host, sizeof(address.sin6_addr));
  std::memcpy(&address.sin6_port, port, sizeof(address.sin6_port));
  return SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&address), sizeof(address));
}

AddressPair PairOf(const ProxyHeader& header) {
  const AddressPair unmapped = {header.source.Unmapped(), header.destination.Unmapped(),
                                Family::kIpv4};
  if (unmapped.source.family() == Family::kIpv4 && unmapped.destination.family() == Family::kIpv4)
    return unmapped;
  if (header.source.family() != header.destination.family()) return {};
  return {header.source, header.destination, header.source.family()};
}

}  // namespace sluice::proxy::internal
