#include "sluice/core/internal/compact_address.h"

#include <netinet/in.h>

#include <cstring>
#include <string>

namespace sluice::internal {
namespace {

// The bytes of a socket address, without the room that SocketAddress leaves for longer ones.
using StoredAddress = std::string;

}  // namespace

CompactAddress::CompactAddress(const SocketAddress& address) {
  switch (address.family()) {
    case SocketAddress::Family::kNone:
      return;
    case SocketAddress::Family::kIpv4: {
      const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(address.data());
      bits_ = uint64_t{ipv4->sin_addr.s_addr} << 32 | uint64_t{ipv4->sin_port} << 8 | 1;
      return;
    }
    default:
      bits_ = reinterpret_cast<uint64_t>(
          new StoredAddress(reinterpret_cast<const char*>(address.data()), address.length()));
  }
}

CompactAddress::~CompactAddress() {
  if ((bits_ & 1) == 0) delete reinterpret_cast<StoredAddress*>(bits_);
}

SocketAddress CompactAddress::Expand() const {
  if (bits_ == 0) return SocketAddress();
  if ((bits_ & 1) == 0) {
    const auto& stored = *reinterpret_cast<const StoredAddress*>(bits_);
    sockaddr_storage aligned = {};
    std::memcpy(&aligned, stored.data(), stored.size());
    return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&aligned),
                                       static_cast<socklen_t>(stored.size()));
  }
  sockaddr_in ipv4 = {};
  ipv4.sin_family = AF_INET;
  ipv4.sin_addr.s_addr = static_cast<uint32_t>(bits_ >> 32);
  ipv4.sin_port = static_cast<uint16_t>(bits_ >> 8);
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&ipv4), sizeof(ipv4));
}

}  // namespace sluice::internal
