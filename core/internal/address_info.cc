#include "sluice/core/internal/address_info.h"

#include <resolv.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

// The name is there, and has no address of the family.
bool IsNoData(int code) {
#ifdef EAI_NODATA
  if (code == EAI_NODATA) return true;
#endif
#ifdef EAI_ADDRFAMILY
  if (code == EAI_ADDRFAMILY) return true;
#endif
  return false;
}

absl::StatusCode CodeOf(int code, int error) {
  switch (code) {
    case EAI_NONAME:
      return absl::StatusCode::kNotFound;
    case EAI_MEMORY:
      return absl::StatusCode::kResourceExhausted;
    case EAI_SYSTEM:
      return IsExhaustion(error) ? absl::StatusCode::kResourceExhausted
                                 : absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

}  // namespace

// The system repeats an address that stands in /etc/hosts more than once.
void AddAddress(const sockaddr* address, socklen_t length, std::vector<SocketAddress>& addresses) {
  const SocketAddress known = SocketAddress::FromSockaddr(address, length).WithPort(0);
  if (known.is_ip() && addresses.size() < kMostAddresses &&
      std::find(addresses.begin(), addresses.end(), known) == addresses.end())
    addresses.push_back(known);
}

absl::StatusOr<std::vector<SocketAddress>> FromAddressInfo(absl::string_view name, int code,
                                                           int error, const addrinfo* list) {
  if (IsNoData(code)) return std::vector<SocketAddress>();
  if (code != 0) {
    const char* why = code == EAI_SYSTEM ? std::strerror(error) : gai_strerror(code);
    return absl::Status(CodeOf(code, error), absl::StrCat(name, ": ", why));
  }
  std::vector<SocketAddress> addresses;
  for (; list != nullptr; list = list->ai_next)
    AddAddress(list->ai_addr, list->ai_addrlen, addresses);
  return addresses;
}

absl::StatusOr<std::vector<SocketAddress>> AskSystem(const std::string& name,
                                                     SocketAddress::Family family) {
  addrinfo hints = {};
  hints.ai_family = family == SocketAddress::Family::kIpv4 ? AF_INET : AF_INET6;
  hints.ai_socktype = SOCK_STREAM;  // or each address comes once for each type
  addrinfo* list = nullptr;
  const int code = getaddrinfo(name.c_str(), nullptr, &hints, &list);
  const int error = errno;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(list, [](addrinfo* l) {
    if (l != nullptr) freeaddrinfo(l);
  });
  return FromAddressInfo(name, code, error, list);
}

void ForgetSystem() {
#ifdef __GLIBC__
  if (_res.nscount > 0) res_nclose(&_res);  // else it was never set up, and is all zero
#endif
}

}  // namespace sluice::internal
