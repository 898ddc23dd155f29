// ws: and wss: URLs (RFC 6455 section 3), strictly: no user name or password, no fragment, no
// characters that must be percent-encoded, no names of ports.
//
// Example:
//   absl::StatusOr<Url> url = ParseUrl("wss://example.com/chat?room=1");
//   Resolve(url->host, url->port);                             // example.com, 443
//   options.host = HostHeader(*url);                           // example.com
//   options.target = url->target;                              // /chat?room=1

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_URL_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_URL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice::websocket {

struct Url {
  bool secure = false;  // wss
  std::string host;     // in lower case; an IPv6 address without its brackets
  uint16_t port = 80;   // 443 for wss
  std::string target;   // path and query, at least "/"
};

// kInvalidArgument, with what is wrong and where.
absl::StatusOr<Url> ParseUrl(absl::string_view text);

// What the Host header has to say: the port only if it is not the scheme's own.
std::string HostHeader(const Url& url);

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_URL_H_
