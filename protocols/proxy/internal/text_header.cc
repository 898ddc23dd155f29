#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "sluice/protocols/proxy/internal/proxy_header.h"

namespace sluice::proxy::internal {
namespace {

using Family = SocketAddress::Family;

// "PROXY TCP4 1.2.3.4 5.6.7.8 1 2": what and how many.
constexpr size_t kWords = 6;

absl::Status Malformed(absl::string_view line) {
  return absl::InvalidArgumentError(
      absl::StrCat("a malformed PROXY protocol header of version 1: \"", absl::CHexEscape(line),
                   "\"; accepted are \"PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\", the same with TCP6, "
                   "and \"PROXY UNKNOWN\""));
}

// A decimal number of 0 to 65535 without leading zeros.
bool ParsePort(absl::string_view text, uint16_t* port) {
  uint32_t number = 0;
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0')) return false;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<uint32_t>(c - '0');
  }
  *port = htons(static_cast<uint16_t>(number));
  return number <= 65535;
}

// No address where it does not parse.
SocketAddress ParseAddress(int family, absl::string_view host, absl::string_view port) {
  std::array<uint8_t, sizeof(in6_addr)> bytes = {};
  uint16_t port_number = 0;
  if (inet_pton(family, std::string(host).c_str(), bytes.data()) != 1) return {};
  if (!ParsePort(port, &port_number)) return {};
  return IpAddress(bytes.data(), family == AF_INET ? 4 : 16,
                   reinterpret_cast<const uint8_t*>(&port_number));
}

// `line` is without its end.
absl::StatusOr<ProxyHeader> ParseLine(absl::string_view line) {
  ProxyHeader header = {.version = ProxyHeader::Version::k1};
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  // Whatever follows is to be ignored.
  if (words[1] == "UNKNOWN") return header;
  const bool is_ipv4 = words[1] == "TCP4";
  if ((!is_ipv4 && words[1] != "TCP6") || words.size() != kWords ||
      line.find('\0') != absl::string_view::npos) {
    return Malformed(line);
  }
  const int family = is_ipv4 ? AF_INET : AF_INET6;
  header.source = ParseAddress(family, words[2], words[4]);
  header.destination = ParseAddress(family, words[3], words[5]);
  if (!header.source.is_ip() || !header.destination.is_ip()) return Malformed(line);
  return header;
}

// At least so many bytes follow a text that is not a whole header yet: what its kind still has to
// have, in its shortest form, so that a header is not read in pieces of a byte or two.
size_t MissingAfter(absl::string_view text) {
  if (text.size() < kShortestText) return kShortestText - text.size();
  if (text.back() == '\r') return 1;
  const bool is_ipv4 = absl::StartsWith(text, "PROXY TCP4 ");
  if (!is_ipv4 && !absl::StartsWith(text, "PROXY TCP6 ")) return 2;
  // After the two hosts and the first port, a host and a port are " 1.1.1.1" or " ::", and " 1".
  const size_t spaces = static_cast<size_t>(std::count(text.begin(), text.end(), ' '));
  const size_t end = 2;
  if (spaces <= 2) return (is_ipv4 ? 8u : 3u) + 2 + 2 + end;
  if (spaces == 3) return 2 + 2 + end;
  if (spaces == 4) return 2 + end;
  return end;
}

}  // namespace

absl::StatusOr<ProxyHeaderPart> ReadTextHeader(absl::Span<const uint8_t> bytes) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes.data()),
                               std::min(bytes.size(), kLongestText));
  const size_t end = text.find_first_of("\r\n");
  const bool is_end =
      end < text.size() && text[end] == '\r' && (end + 1 == text.size() || text[end + 1] == '\n');
  if (end < text.size() && !is_end) return Malformed(text.substr(0, end));
  if (end + 1 < text.size() && is_end) {
    absl::StatusOr<ProxyHeader> header = ParseLine(text.substr(0, end));
    if (!header.ok()) return header.status();
    return ProxyHeaderPart{.size = end + 2, .header = *std::move(header)};
  }
  if (text.size() == kLongestText) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a PROXY protocol header of version 1 has more than ", kLongestText, " bytes"));
  }
  return ProxyHeaderPart{.missing = std::min(MissingAfter(text), kLongestText - text.size())};
}

std::string WriteTextHeader(const ProxyHeader& header) {
  const AddressPair pair = PairOf(header);
  if (pair.family != Family::kIpv4 && pair.family != Family::kIpv6) return "PROXY UNKNOWN\r\n";
  const auto host = [](const SocketAddress& address) {
    std::array<char, INET6_ADDRSTRLEN> text;
    const bool is_ipv4 = address.family() == Family::kIpv4;
    const void* const bytes =
        is_ipv4 ? static_cast<const void*>(
                      &reinterpret_cast<const sockaddr_in*>(address.data())->sin_addr)
                : &reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_addr;
    inet_ntop(is_ipv4 ? AF_INET : AF_INET6, bytes, text.data(), text.size());
    return std::string(text.data());
  };
  return absl::StrCat("PROXY ", pair.family == Family::kIpv4 ? "TCP4 " : "TCP6 ", host(pair.source),
                      " ", host(pair.destination), " ", pair.source.port(), " ",
                      pair.destination.port(), "\r\n");
}

}  // namespace sluice::proxy::internal
