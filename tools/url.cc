#include "sluice/tools/url.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace sluice::tools {
namespace {

constexpr absl::string_view kUnixSuffix = "+unix";
// The scheme that stands for plain bytes, so that its Unix form has a short name.
constexpr absl::string_view kBytesScheme = "tcp";

std::string UnixName(const UrlScheme& scheme) {
  return scheme.name == kBytesScheme ? "unix" : absl::StrCat(scheme.name, kUnixSuffix);
}

const UrlScheme* Find(absl::Span<const UrlScheme> schemes, absl::string_view name) {
  const auto found = std::find_if(schemes.begin(), schemes.end(),
                                  [&](const UrlScheme& scheme) { return scheme.name == name; });
  return found == schemes.end() ? nullptr : &*found;
}

absl::Status Refuse(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": ", why));
}

// A target as HTTP's request line can hold it.
absl::StatusOr<std::string> ParseTarget(absl::string_view text, absl::string_view target) {
  if (target.empty()) return std::string("/");
  if (target.find('#') != absl::string_view::npos)
    return Refuse(text, "a fragment (#) has no meaning here");
  if (!std::all_of(target.begin(), target.end(), absl::ascii_isgraph)) {
    return Refuse(text,
                  "a path and a query hold visible ASCII characters only; write others as %XX");
  }
  return target[0] == '/' ? std::string(target) : absl::StrCat("/", target);
}

absl::StatusOr<uint16_t> ParsePort(absl::string_view text, absl::string_view port) {
  uint32_t number;
  if (!std::all_of(port.begin(), port.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(port, &number) || number == 0 || number > 65535) {
    return Refuse(text, absl::StrCat("the port is ", port, " and must be 1 to 65535"));
  }
  return static_cast<uint16_t>(number);
}

// Without the brackets of an IPv6 address.
absl::StatusOr<std::string> ParseHost(absl::string_view text, absl::string_view host) {
  if (host.empty()) return Refuse(text, "there is no host");
  const bool bracketed = absl::ConsumePrefix(&host, "[");
  if (bracketed && !absl::ConsumeSuffix(&host, "]"))
    return Refuse(text, absl::StrCat("the host [", host, " has no closing bracket"));
  const Endpoint endpoint{std::string(host), 1};
  const bool is_v6 = endpoint.Address().family() == SocketAddress::Family::kIpv6;
  if (bracketed && !is_v6) return Refuse(text, absl::StrCat(host, " is no IPv6 address"));
  if (!bracketed && is_v6)
    return Refuse(text, absl::StrCat("an IPv6 address stands in brackets: [", host, "]"));
  if (const absl::Status status = endpoint.Check(); !status.ok())
    return Refuse(text, status.message());
  return endpoint.host;
}

absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text, absl::string_view authority,
                                       const UrlScheme& scheme) {
  if (absl::StrContains(authority, "@")) return Refuse(text, "a user name has no meaning here");
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  const bool is_open = authority.substr(0, 1) == "[" && bracket == absl::string_view::npos;
  const bool has_port = colon != absl::string_view::npos && !is_open &&
                        (bracket == absl::string_view::npos || colon > bracket);
  absl::StatusOr<std::string> host =
      ParseHost(text, authority.substr(0, has_port ? colon : authority.size()));
  if (!host.ok()) return host.status();
  Endpoint endpoint{*std::move(host), scheme.default_port};
  if (has_port) {
    const absl::StatusOr<uint16_t> port = ParsePort(text, authority.substr(colon + 1));
    if (!port.ok()) return port.status();
    endpoint.port = *port;
  }
  if (endpoint.port == 0)
    return Refuse(text, absl::StrCat("there is no port: ", scheme.name, "://", authority, ":PORT"));
  return endpoint;
}

absl::StatusOr<Url> ParseUnixUrl(absl::string_view text, absl::string_view rest,
                                 const UrlScheme& scheme) {
  Url url;
  url.scheme = scheme.name;
  url.encrypted = scheme.encrypted;
  url.endpoint.host = url.authority = "localhost";
  const size_t colon = scheme.has_target ? rest.find(':') : absl::string_view::npos;
  const absl::string_view path = rest.substr(0, colon);
  if (path.empty() || (path[0] != '/' && path[0] != '@')) {
    return Refuse(text, absl::StrCat("the path of a Unix socket begins with / or @: ",
                                     UnixName(scheme), ":///PATH"));
  }
  if (colon != absl::string_view::npos) {
    absl::StatusOr<std::string> target = ParseTarget(text, rest.substr(colon + 1));
    if (!target.ok()) return target.status();
    url.target = *target;
  }
  absl::StatusOr<SocketAddress> address = SocketAddress::Parse(absl::StrCat("unix:", path));
  if (!address.ok()) return Refuse(text, address.status().message());
  url.unix_socket = *address;
  return url;
}

absl::StatusOr<Url> ParseHostUrl(absl::string_view text, absl::string_view rest,
                                 const UrlScheme& scheme) {
  Url url;
  url.scheme = scheme.name;
  url.encrypted = scheme.encrypted;
  const size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  url.authority = std::string(rest.substr(0, end));
  absl::StatusOr<std::string> target = ParseTarget(text, rest.substr(end));
  if (!target.ok()) return target.status();
  if (!scheme.has_target && *target != "/") {
    return Refuse(text, absl::StrCat("nothing may follow the port of ", scheme.name, "://"));
  }
  url.target = *target;
  absl::StatusOr<Endpoint> endpoint = ParseEndpoint(text, url.authority, scheme);
  if (!endpoint.ok()) return endpoint.status();
  url.endpoint = *std::move(endpoint);
  return url;
}

}  // namespace

UrlScheme UdpScheme() { return {.name = std::string(kUdp), .has_unix = false}; }

absl::StatusOr<Url> ParseUrl(absl::string_view text, absl::Span<const UrlScheme> schemes) {
  const size_t separator = text.find("://");
  if (separator == absl::string_view::npos) {
    return Refuse(text, absl::StrCat("this is not a URL; accepted are ", AcceptedUrls(schemes)));
  }
  const absl::string_view name = text.substr(0, separator);
  const absl::string_view rest = text.substr(separator + 3);
  absl::string_view base = name;
  const bool is_unix = absl::ConsumeSuffix(&base, kUnixSuffix) || name == "unix";
  const UrlScheme* scheme = Find(schemes, name == "unix" ? kBytesScheme : base);
  if (scheme == nullptr) {
    return Refuse(text, absl::StrCat(name, ":// is not among the schemes; accepted are ",
                                     AcceptedUrls(schemes)));
  }
  if (is_unix && !scheme->has_unix)
    return Refuse(text, absl::StrCat(scheme->name, ":// is not spoken over Unix sockets"));
  return is_unix ? ParseUnixUrl(text, rest, *scheme) : ParseHostUrl(text, rest, *scheme);
}

std::string AcceptedUrls(absl::Span<const UrlScheme> schemes) {
  std::vector<std::string> forms;
  for (const UrlScheme& scheme : schemes) {
    forms.push_back(absl::StrCat(scheme.name, "://HOST",
                                 scheme.default_port == 0 ? ":PORT" : "[:PORT]",
                                 scheme.has_target ? "[/PATH]" : ""));
  }
  for (const UrlScheme& scheme : schemes) {
    if (!scheme.has_unix) continue;
    forms.push_back(
        absl::StrCat(UnixName(scheme), ":///PATH", scheme.has_target ? "[:/TARGET]" : ""));
  }
  return absl::StrJoin(forms, ", ");
}

}  // namespace sluice::tools
