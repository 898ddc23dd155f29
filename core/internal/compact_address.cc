#include "sluice/core/internal/compact_address.h"

#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>
#include <new>

namespace sluice::internal {
namespace {

static_assert(sizeof(sockaddr_un) <= UINT8_MAX && sizeof(sockaddr_in6) <= UINT8_MAX);

// Whether IPv4 and a port are all that there is to it.
bool IsMapped(const SocketAddress& address) {
  if (address.family() != SocketAddress::Family::kIpv6 ||
      address.Unmapped().family() != SocketAddress::Family::kIpv4) {
    return false;
  }
  const auto* ipv6 = reinterpret_cast<const sockaddr_in6*>(address.data());
  return ipv6->sin6_flowinfo == 0 && ipv6->sin6_scope_id == 0;
}

SocketAddress Mapped(const sockaddr_in& ipv4) {
  sockaddr_in6 ipv6 = {};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = ipv4.sin_port;
  uint8_t* const host = ipv6.sin6_addr.s6_addr;
  host[10] = host[11] = 0xff;
  std::memcpy(host + 12, &ipv4.sin_addr, sizeof(ipv4.sin_addr));
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&ipv6), sizeof(ipv6));
}

}  // namespace

CompactAddress::CompactAddress(const SocketAddress& address) {
  if (address.family() == SocketAddress::Family::kNone) return;
  const bool is_mapped = IsMapped(address);
  if (is_mapped || address.family() == SocketAddress::Family::kIpv4) {
    const SocketAddress unmapped = address.Unmapped();
    const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(unmapped.data());
    bits_ = uint64_t{ipv4->sin_addr.s_addr} << 32 | uint64_t{ipv4->sin_port} << 8 | kInline |
            (is_mapped ? kMapped : 0);
    return;
  }
  auto* const stored = static_cast<uint8_t*>(::operator new(1 + address.length()));
  *stored = static_cast<uint8_t>(address.length());
  std::memcpy(stored + 1, address.data(), address.length());
  bits_ = reinterpret_cast<uint64_t>(stored);
}

CompactAddress::~CompactAddress() {
  if (!is_inline()) ::operator delete(reinterpret_cast<void*>(bits_));
}

SocketAddress CompactAddress::Expand() const {
  if (bits_ == 0) return SocketAddress();
  if (!is_inline()) {
    const auto* const stored = reinterpret_cast<const uint8_t*>(bits_);
    sockaddr_storage aligned = {};
    std::memcpy(&aligned, stored + 1, *stored);
    return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&aligned), *stored);
  }
  sockaddr_in ipv4 = {};
  ipv4.sin_family = AF_INET;
  ipv4.sin_addr.s_addr = static_cast<uint32_t>(bits_ >> 32);
  ipv4.sin_port = static_cast<uint16_t>(bits_ >> 8);
  if ((bits_ & kMapped) != 0) return Mapped(ipv4);
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&ipv4), sizeof(ipv4));
}

}  // namespace sluice::internal
