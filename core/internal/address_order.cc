#include "sluice/core/internal/address_order.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <tuple>

#include "sluice/core/internal/socket_ops.h"

namespace sluice::internal {
namespace {

using Bytes = std::array<uint8_t, 16>;

constexpr int kLinkLocalScope = 2;
constexpr int kSiteLocalScope = 5;
constexpr int kGlobalScope = 14;

struct Policy {
  Bytes prefix;
  int bits;
  int precedence;
  int label;
};

// Section 2.1's default table, longest prefix first.
constexpr Policy kPolicies[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, 50, 0},       // ::1
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, 96, 35, 4},  // ::ffff:0:0, so IPv4
    {{}, 96, 1, 3},                                                       // ::
    {{0x20, 0x01, 0, 0}, 32, 5, 5},                                       // 2001::, Teredo
    {{0x20, 0x02}, 16, 30, 2},                                            // 2002::, 6to4
    {{0x3f, 0xfe}, 16, 1, 12},                                            // 3ffe::, 6bone
    {{0xfe, 0xc0}, 10, 1, 11},                                            // fec0::, site-local
    {{0xfc}, 7, 3, 13},                                                   // fc00::, unique local
    {{}, 0, 40, 1},                                                       // all others
};

bool IsV4Mapped(const Bytes& address) {
  constexpr std::array<uint8_t, 12> kPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::equal(kPrefix.begin(), kPrefix.end(), address.begin());
}

// An IPv4 address as ::ffff:a.b.c.d.
Bytes BytesOf(const SocketAddress& address) {
  Bytes bytes = {};
  if (address.family() == SocketAddress::Family::kIpv6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.data());
    std::memcpy(bytes.data(), &v6->sin6_addr, bytes.size());
  } else if (address.family() == SocketAddress::Family::kIpv4) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.data());
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(&bytes[12], &v4->sin_addr, 4);
  }
  return bytes;
}

int CommonBits(const Bytes& a, const Bytes& b, int most) {
  int common = 0;
  while (common < most) {
    const size_t byte = static_cast<size_t>(common / 8);
    if (((a[byte] ^ b[byte]) & (0x80 >> common % 8)) != 0) break;
    ++common;
  }
  return common;
}

const Policy& PolicyOf(const Bytes& address) {
  return *std::find_if(std::begin(kPolicies), std::end(kPolicies), [&](const Policy& policy) {
    return CommonBits(address, policy.prefix, policy.bits) == policy.bits;
  });
}

// Sections 3.1 and 3.2.
int ScopeOf(const Bytes& address) {
  if (IsV4Mapped(address)) {
    const bool local = address[12] == 127 || (address[12] == 169 && address[13] == 254);
    return local ? kLinkLocalScope : kGlobalScope;
  }
  if (address[0] == 0xff) return address[1] & 0xf;
  if (CommonBits(address, kPolicies[0].prefix, 128) == 128) return kLinkLocalScope;
  if (address[0] == 0xfe && (address[1] & 0xc0) == 0x80) return kLinkLocalScope;
  if (address[0] == 0xfe && (address[1] & 0xc0) == 0xc0) return kSiteLocalScope;
  return kGlobalScope;
}

// The smaller, the earlier; one element a rule.
using Key = std::tuple<bool, bool, bool, int, int, int>;

Key KeyOf(const Destination& destination) {
  const Bytes to = BytesOf(destination.address);
  const Policy& policy = PolicyOf(to);
  const int scope = ScopeOf(to);
  if (!destination.source.is_ip()) return {true, true, true, -policy.precedence, scope, 0};
  const Bytes from = BytesOf(destination.source);
  return {false,
          ScopeOf(from) != scope,
          PolicyOf(from).label != policy.label,
          -policy.precedence,
          scope,
          IsV4Mapped(to) ? 0 : -CommonBits(from, to, 64)};
}

}  // namespace

void SortDestinations(std::vector<Destination>& destinations) {
  std::stable_sort(destinations.begin(), destinations.end(),
                   [](const Destination& a, const Destination& b) { return KeyOf(a) < KeyOf(b); });
}

SocketAddress SystemSourceAddress(const SocketAddress& destination) {
#ifdef SOCK_CLOEXEC
  constexpr int kType = SOCK_DGRAM | SOCK_CLOEXEC;
#else
  constexpr int kType = SOCK_DGRAM;  // macOS; it is open for a moment only
#endif
  const UniqueFd socket(::socket(destination.data()->sa_family, kType, 0));
  if (!socket.ok() || ::connect(socket.get(), destination.data(), destination.length()) != 0)
    return {};
  return LocalAddressOf(socket.get());
}

}  // namespace sluice::internal
