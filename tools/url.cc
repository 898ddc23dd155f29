#include "sluice/tools/url.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
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

// Of an authority that was found to be good.
std::string HostOf(absl::string_view authority) {
  if (authority[0] == '[') return std::string(authority.substr(1, authority.find(']') - 1));
  return std::string(authority.substr(0, authority.rfind(':')));
}

absl::StatusOr<SocketAddress> ParseHostAndPort(absl::string_view text, absl::string_view authority,
                                               const UrlScheme& scheme) {
  if (absl::StrContains(authority, "@")) return Refuse(text, "a user name has no meaning here");
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  const bool has_port =
      colon != absl::string_view::npos && (bracket == absl::string_view::npos || colon > bracket);
  absl::string_view host = has_port ? authority.substr(0, colon) : authority;
  if (host.empty()) return Refuse(text, "there is no host");
  if (!has_port && scheme.default_port == 0) {
    return Refuse(text, absl::StrCat("there is no port: ", scheme.name, "://", host, ":PORT"));
  }
  const std::string port =
      has_port ? std::string(authority.substr(colon + 1)) : absl::StrCat(scheme.default_port);
  if (host == "localhost") host = "127.0.0.1";

  absl::StatusOr<SocketAddress> address = SocketAddress::Parse(absl::StrCat(host, ":", port));
  if (host == "*" || !address.ok()) {
    // Is it the port? A host that surely parses tells.
    const absl::StatusOr<SocketAddress> port_alone =
        SocketAddress::Parse(absl::StrCat("127.0.0.1:", port));
    if (!port_alone.ok())
      return Refuse(text, absl::StrCat("the port is ", port, " and must be 1 to 65535"));
    return Refuse(
        text,
        absl::StrCat(
            "the host ", host,
            " is no literal address, and names are not looked up; accepted are addresses such "
            "as 127.0.0.1 and [::1], and localhost"));
  }
  if (address->port() == 0) return Refuse(text, "the port is 0 and must be 1 to 65535");
  return address;
}

absl::StatusOr<Url> ParseUnixUrl(absl::string_view text, absl::string_view rest,
                                 const UrlScheme& scheme) {
  Url url;
  url.scheme = scheme.name;
  url.encrypted = scheme.encrypted;
  url.host = url.authority = "localhost";
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
  url.address = *address;
  return url;
}

absl::StatusOr<Url> ParseIpUrl(absl::string_view text, absl::string_view rest,
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
  absl::StatusOr<SocketAddress> address = ParseHostAndPort(text, url.authority, scheme);
  if (!address.ok()) return address.status();
  url.address = *address;
  url.host = HostOf(url.authority);
  return url;
}

}  // namespace

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
  return is_unix ? ParseUnixUrl(text, rest, *scheme) : ParseIpUrl(text, rest, *scheme);
}

std::string AcceptedUrls(absl::Span<const UrlScheme> schemes) {
  std::vector<std::string> forms;
  for (const UrlScheme& scheme : schemes) {
    forms.push_back(absl::StrCat(scheme.name, "://HOST",
                                 scheme.default_port == 0 ? ":PORT" : "[:PORT]",
                                 scheme.has_target ? "[/PATH]" : ""));
  }
  for (const UrlScheme& scheme : schemes) {
    forms.push_back(
        absl::StrCat(UnixName(scheme), ":///PATH", scheme.has_target ? "[:/TARGET]" : ""));
  }
  return absl::StrJoin(forms, ", ");
}

}  // namespace sluice::tools
