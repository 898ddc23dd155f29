#include "sluice/tools/proxy_flag.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sluice/protocols/proxy/http_connect.h"
#include "sluice/protocols/proxy/socks5.h"
#include "sluice/tools/url.h"

ABSL_FLAG(std::string, proxy, "",
          "a proxy to connect through: http://[USER[:PASSWORD]@]HOST:PORT (HTTP CONNECT) or "
          "socks5://[USER:PASSWORD@]HOST:PORT; it looks up the server's name");

namespace sluice::tools {
namespace {

constexpr absl::string_view kHttp = "http";
constexpr absl::string_view kSocks5 = "socks5";
constexpr absl::string_view kAccepted =
    "accepted are http://[USER[:PASSWORD]@]HOST:PORT and socks5://[USER:PASSWORD@]HOST:PORT";

absl::StatusOr<std::string> PercentDecode(absl::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    uint32_t byte = static_cast<unsigned char>(text[i]);
    if (text[i] == '%') {
      const absl::string_view digits = text.substr(i + 1, 2);
      if (digits.size() != 2 || !std::all_of(digits.begin(), digits.end(), absl::ascii_isxdigit) ||
          !absl::SimpleHexAtoi(digits, &byte)) {
        return absl::InvalidArgumentError(
            "in a user name and a password, % stands before two hexadecimal digits; itself it is "
            "%25");
      }
      i += 2;
    }
    decoded.push_back(static_cast<char>(byte));
  }
  return decoded;
}

absl::Status ParseCredentials(absl::string_view text, ProxyUrl& proxy) {
  const size_t colon = std::min(text.find(':'), text.size());
  absl::StatusOr<std::string> user = PercentDecode(text.substr(0, colon));
  if (!user.ok()) return user.status();
  absl::StatusOr<std::string> password =
      PercentDecode(text.substr(std::min(colon + 1, text.size())));
  if (!password.ok()) return password.status();
  proxy.user = *std::move(user);
  proxy.password = *std::move(password);
  return absl::OkStatus();
}

absl::Status NoProxyUrl() {
  return absl::InvalidArgumentError(absl::StrCat("this is no URL of a proxy; ", kAccepted));
}

// Of USER:PASSWORD, with a forgotten @HOST: what stands where a port would is no number.
bool MayBeCredentials(absl::string_view authority) {
  if (authority.substr(0, 1) == "[") return false;  // an IPv6 address
  const size_t colon = authority.find(':');
  uint32_t port;
  return colon != absl::string_view::npos &&
         (!absl::SimpleAtoi(authority.substr(colon + 1), &port) || port > 65535);
}

absl::StatusOr<std::shared_ptr<const Dialer>> NewProxyDialer(const ProxyUrl& url,
                                                             std::shared_ptr<const Dialer> lower) {
  if (url.scheme == kHttp) {
    proxy::HttpConnectDialer::Options options;
    options.proxy = url.endpoint;
    options.user = url.user;
    options.password = url.password;
    return proxy::HttpConnectDialer::Create(options, std::move(lower));
  }
  proxy::Socks5Dialer::Options options;
  options.proxy = url.endpoint;
  options.user = url.user;
  options.password = url.password;
  return proxy::Socks5Dialer::Create(options, std::move(lower));
}

absl::Status NameFlag(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("--proxy: ", status.message()));
}

}  // namespace

std::string ProxyUrl::ToString() const { return absl::StrCat(scheme, "://", endpoint.ToString()); }

absl::StatusOr<ProxyUrl> ParseProxyUrl(absl::string_view text) {
  ProxyUrl proxy;
  const size_t separator = text.find("://");
  proxy.scheme = std::string(text.substr(0, separator));
  if (separator == absl::string_view::npos || (proxy.scheme != kHttp && proxy.scheme != kSocks5))
    return NoProxyUrl();
  absl::string_view rest = text.substr(separator + 3);
  if (const size_t at = rest.rfind('@'); at != absl::string_view::npos) {
    if (absl::Status status = ParseCredentials(rest.substr(0, at), proxy); !status.ok())
      return status;
    rest.remove_prefix(at + 1);
  } else if (MayBeCredentials(rest.substr(0, rest.find_first_of("/?#")))) {
    return NoProxyUrl();
  }
  const absl::StatusOr<Url> url =
      ParseUrl(absl::StrCat(proxy.scheme, "://", rest), {{.name = proxy.scheme}});
  if (!url.ok()) return url.status();
  proxy.endpoint = url->endpoint;
  return proxy;
}

absl::StatusOr<ProxyFlag> ReadProxyFlag(std::shared_ptr<const Dialer> lower) {
  const std::string text = absl::GetFlag(FLAGS_proxy);
  if (text.empty()) return ProxyFlag{std::move(lower), ""};
  const absl::StatusOr<ProxyUrl> url = ParseProxyUrl(text);
  if (!url.ok()) return NameFlag(url.status());
  absl::StatusOr<std::shared_ptr<const Dialer>> dialer = NewProxyDialer(*url, std::move(lower));
  if (!dialer.ok()) return NameFlag(dialer.status());
  return ProxyFlag{*std::move(dialer), url->ToString()};
}

}  // namespace sluice::tools
