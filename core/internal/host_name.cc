#include "sluice/core/internal/host_name.h"

#include <algorithm>
#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace sluice::internal {
namespace {

constexpr size_t kMostHostBytes = 255;

bool IsName(absl::string_view host) {
  return !host.empty() && host.size() <= kMostHostBytes &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' ||
                  c == '_';
         });
}

}  // namespace

SocketAddress LiteralAddress(absl::string_view host) {
  // SocketAddress knows more than addresses of hosts, and the number of an interface may stand
  // among white space.
  const bool plain = std::all_of(host.begin(), host.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '*' && c != '[' && c != ']';
  });
  if (!plain || absl::StartsWith(host, "unix:")) return {};
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(
      absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:0") : absl::StrCat(host, ":0"));
  return address.ok() && address->is_ip() ? *address : SocketAddress();
}

absl::Status CheckHost(absl::string_view host) {
  if (IsName(host) || LiteralAddress(host).is_ip()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(host),
                   "\" is no host: it must be an IPv4 or IPv6 address (without brackets), or a "
                   "name of at most 255 letters, digits, '-', '.' and '_'"));
}

}  // namespace sluice::internal
