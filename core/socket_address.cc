#include "sluice/core/socket_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

constexpr absl::string_view kUnixScheme = "unix:";

absl::Status Refuse(absl::string_view text, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not an address: ", what,
                   "; accepted are 127.0.0.1:9000, [::1]:9000, *:9000 and unix:/path"));
}

absl::StatusOr<SocketAddress> ParseUnix(absl::string_view text, absl::string_view path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path == "@") return Refuse(text, "the path is empty");
  if (path.size() >= sizeof(address.sun_path)) {
    return Refuse(text, absl::StrCat("the path has ", path.size(), " bytes and may have ",
                                     sizeof(address.sun_path) - 1));
  }
  if (path.find('\0') != absl::string_view::npos) return Refuse(text, "the path holds a zero byte");
  std::memcpy(address.sun_path, path.data(), path.size());
  const bool abstract = path[0] == '@';
  if (abstract) address.sun_path[0] = '\0';
  // An abstract name is as long as the length says; a path ends with a zero byte, which counts.
  const size_t length = offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1);
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&address),
                                     static_cast<socklen_t>(length));
}

SocketAddress FromIpv4(in_addr host, uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr = host;
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

SocketAddress FromIpv6(const in6_addr& host, uint16_t port, uint32_t scope) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_addr = host;
  address.sin6_scope_id = scope;
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

bool IsKnown(sa_family_t family, socklen_t length) {
  return (family == AF_INET && length >= sizeof(sockaddr_in)) ||
         (family == AF_INET6 && length >= sizeof(sockaddr_in6)) || family == AF_UNIX;
}

// "1" to "4294967295", or the name of an interface; 0 for neither.
uint32_t ParseScope(const std::string& scope) {
  uint32_t number;
  if (absl::SimpleAtoi(scope, &number)) return number;
  return if_nametoindex(scope.c_str());
}

}  // namespace

SocketAddress::SocketAddress() : storage_{}, length_(0) {}

absl::StatusOr<SocketAddress> SocketAddress::Parse(absl::string_view text) {
  if (text.substr(0, kUnixScheme.size()) == kUnixScheme)
    return ParseUnix(text, text.substr(kUnixScheme.size()));
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return Refuse(text, "it has no port");
  absl::string_view host = text.substr(0, colon);
  const absl::string_view port_text = text.substr(colon + 1);
  uint32_t port;
  if (port_text.empty() ||
      !std::all_of(port_text.begin(), port_text.end(),
                   [](char c) { return c >= '0' && c <= '9'; }) ||
      !absl::SimpleAtoi(port_text, &port) || port > 65535) {
    return Refuse(text, absl::StrCat("the port is \"", port_text, "\" and must be 0 to 65535"));
  }
  if (host == "*") return FromIpv6(in6addr_any, static_cast<uint16_t>(port), 0);
  if (!host.empty() && host.front() == '[') {
    if (host.back() != ']' || host.size() < 3) return Refuse(text, "the bracket is not closed");
    host = host.substr(1, host.size() - 2);
    uint32_t scope = 0;
    const size_t percent = host.find('%');
    if (percent != absl::string_view::npos) {
      const std::string name(host.substr(percent + 1));
      scope = ParseScope(name);
      if (scope == 0) return Refuse(text, absl::StrCat("there is no interface \"", name, "\""));
      host = host.substr(0, percent);
    }
    in6_addr address;
    if (inet_pton(AF_INET6, std::string(host).c_str(), &address) != 1)
      return Refuse(text, "the IPv6 address does not parse");
    return FromIpv6(address, static_cast<uint16_t>(port), scope);
  }
  if (host.find(':') != absl::string_view::npos)
    return Refuse(text, "an IPv6 address stands in brackets");
  in_addr address;
  if (inet_pton(AF_INET, std::string(host).c_str(), &address) != 1)
    return Refuse(text, "the host is not a literal address");
  return FromIpv4(address, static_cast<uint16_t>(port));
}

SocketAddress SocketAddress::FromSockaddr(const sockaddr* address, socklen_t length) {
  SocketAddress result;
  if (address == nullptr || length < sizeof(sa_family_t) || length > sizeof(result.storage_))
    return result;
  if (!IsKnown(address->sa_family, length)) return result;
  std::memcpy(&result.storage_, address, length);
  result.length_ = length;
  return result;
}

void SocketAddress::SetLength(socklen_t length) {
  length_ = length >= sizeof(sa_family_t) && IsKnown(storage_.ss_family, length) ? length : 0;
}

SocketAddress SocketAddress::Ipv4Loopback(uint16_t port) {
  return FromIpv4({htonl(INADDR_LOOPBACK)}, port);
}

SocketAddress SocketAddress::Ipv6Loopback(uint16_t port) {
  return FromIpv6(in6addr_loopback, port, 0);
}

SocketAddress::Family SocketAddress::family() const {
  if (length_ == 0) return Family::kNone;
  switch (storage_.ss_family) {
    case AF_INET:
      return Family::kIpv4;
    case AF_INET6:
      return Family::kIpv6;
    default:
      return Family::kUnix;
  }
}

bool SocketAddress::is_any() const {
  if (family() == Family::kIpv4)
    return reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr.s_addr == htonl(INADDR_ANY);
  return family() == Family::kIpv6 &&
         IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr);
}

uint16_t SocketAddress::port() const {
  switch (family()) {
    case Family::kIpv4:
      return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
    case Family::kIpv6:
      return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port);
    default:
      return 0;
  }
}

SocketAddress SocketAddress::WithPort(uint16_t port) const {
  SocketAddress result = *this;
  if (family() == Family::kIpv4)
    reinterpret_cast<sockaddr_in*>(&result.storage_)->sin_port = htons(port);
  if (family() == Family::kIpv6)
    reinterpret_cast<sockaddr_in6*>(&result.storage_)->sin6_port = htons(port);
  return result;
}

SocketAddress SocketAddress::Unmapped() const {
  if (family() != Family::kIpv6) return *this;
  const in6_addr& host = reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr;
  if (!IN6_IS_ADDR_V4MAPPED(&host)) return *this;
  in_addr ipv4;
  std::memcpy(&ipv4, &host.s6_addr[12], sizeof(ipv4));
  return FromIpv4(ipv4, port());
}

std::string SocketAddress::path() const {
  if (family() != Family::kUnix) return "";
  const auto* address = reinterpret_cast<const sockaddr_un*>(&storage_);
  const size_t length = length_ - offsetof(sockaddr_un, sun_path);
  if (length_ <= offsetof(sockaddr_un, sun_path)) return "";  // an unnamed socket
  if (address->sun_path[0] == '\0')
    return absl::StrCat("@", absl::string_view(address->sun_path + 1, length - 1));
  return std::string(address->sun_path, strnlen(address->sun_path, length));
}

std::string SocketAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  switch (family()) {
    case Family::kNone:
      return "(none)";
    case Family::kUnix:
      return absl::StrCat(kUnixScheme, path());
    case Family::kIpv4: {
      const auto* address = reinterpret_cast<const sockaddr_in*>(&storage_);
      inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text));
      return absl::StrCat(text, ":", port());
    }
    case Family::kIpv6: {
      const auto* address = reinterpret_cast<const sockaddr_in6*>(&storage_);
      inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof(text));
      if (address->sin6_scope_id == 0) return absl::StrCat("[", text, "]:", port());
      return absl::StrCat("[", text, "%", address->sin6_scope_id, "]:", port());
    }
  }
  return "";
}

bool operator==(const SocketAddress& a, const SocketAddress& b) {
  if (a.family() != b.family()) return false;
  switch (a.family()) {
    case SocketAddress::Family::kNone:
      return true;
    case SocketAddress::Family::kUnix:
      return a.path() == b.path();
    case SocketAddress::Family::kIpv4: {
      const auto* x = reinterpret_cast<const sockaddr_in*>(&a.storage_);
      const auto* y = reinterpret_cast<const sockaddr_in*>(&b.storage_);
      return x->sin_addr.s_addr == y->sin_addr.s_addr && x->sin_port == y->sin_port;
    }
    case SocketAddress::Family::kIpv6: {
      const auto* x = reinterpret_cast<const sockaddr_in6*>(&a.storage_);
      const auto* y = reinterpret_cast<const sockaddr_in6*>(&b.storage_);
      return std::memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(in6_addr)) == 0 &&
             x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id;
    }
  }
  return false;
}

}  // namespace sluice
