#include "sluice/protocols/websocket/url.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace sluice::websocket {
namespace {

constexpr uint16_t kPort = 80;
constexpr uint16_t kSecurePort = 443;

// Names and IPv4 addresses: letters, digits and what occurs in names on the internet.
bool IsHostName(absl::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_';
  });
}

// Only the alphabet; whoever connects parses it.
bool IsIpv6Address(absl::string_view host) {
  return std::count(host.begin(), host.end(), ':') >= 2 &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c)) || c == ':' || c == '.';
         });
}

// "" is the default (RFC 3986 section 3.2.3).
bool ParsePort(absl::string_view text, uint16_t& port) {
  if (text.empty()) return true;
  uint32_t value = 0;
  if (!std::all_of(text.begin(), text.end(),
                   [](unsigned char c) { return absl::ascii_isdigit(c); }) ||
      !absl::SimpleAtoi(text, &value) || value == 0 || value > 0xffff) {
    return false;
  }
  port = static_cast<uint16_t>(value);
  return true;
}

// For messages: without what is nobody else's business, a password or what a query has of tokens.
std::string Shown(absl::string_view url) {
  const size_t query = std::min(url.find_first_of("?#"), url.size());
  const absl::string_view tail = query < url.size() ? url.substr(query, 1) : "";
  url = url.substr(0, query);
  const size_t at = url.rfind('@');
  if (at == absl::string_view::npos) return absl::StrCat(url, tail, tail.empty() ? "" : "...");
  const size_t scheme = url.substr(0, at).find("://");
  const size_t user = scheme == absl::string_view::npos ? 0 : scheme + 3;
  return absl::StrCat(url.substr(0, user), "...", url.substr(at), tail, tail.empty() ? "" : "...");
}

}  // namespace

absl::StatusOr<Url> ParseUrl(absl::string_view text) {
  const auto error = [text](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(Shown(text)), "\": ", why));
  };
  absl::string_view rest = text;
  Url url;
  if (absl::StartsWithIgnoreCase(rest, "ws://")) {
    rest.remove_prefix(5);
  } else if (absl::StartsWithIgnoreCase(rest, "wss://")) {
    rest.remove_prefix(6);
    url.secure = true;
    url.port = kSecurePort;
  } else {
    return error("a WebSocket URL begins with ws:// or wss://");
  }
  if (!std::all_of(rest.begin(), rest.end(), absl::ascii_isgraph)) {
    return error("spaces, control characters and all that is not ASCII must be percent-encoded");
  }
  if (absl::StrContains(rest, '#')) return error("a WebSocket URL has no fragment");

  const size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
  absl::string_view authority = rest.substr(0, authority_end);
  rest.remove_prefix(authority_end);
  if (absl::StrContains(authority, '@')) return error("user name and password are not supported");

  absl::string_view host;
  absl::string_view port;
  if (absl::ConsumePrefix(&authority, "[")) {
    const size_t bracket = authority.find(']');
    if (bracket == absl::string_view::npos) return error("the bracket is not closed");
    host = authority.substr(0, bracket);
    port = authority.substr(bracket + 1);
    if (!IsIpv6Address(host)) return error("in brackets stands an IPv6 address");
    if (!port.empty() && !absl::ConsumePrefix(&port, ":")) {
      return error("after the bracket comes a colon and a port, or nothing");
    }
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    host = authority.substr(0, colon);
    port = authority.substr(std::min(colon + 1, authority.size()));
    if (!IsHostName(host)) return error("the host is missing or malformed");
  }
  if (!ParsePort(port, url.port)) return error("a port is a number from 1 to 65535");

  url.host = absl::AsciiStrToLower(host);
  url.target = absl::StrCat(absl::StartsWith(rest, "/") ? "" : "/", rest);
  return url;
}

std::string HostHeader(const Url& url) {
  std::string host = absl::StrContains(url.host, ':') ? absl::StrCat("[", url.host, "]") : url.host;
  if (url.port != (url.secure ? kSecurePort : kPort)) absl::StrAppend(&host, ":", url.port);
  return host;
}

}  // namespace sluice::websocket
