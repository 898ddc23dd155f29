// --proxy: what a client's commands go through to the server.
//
//   http://10.0.0.1:3128                       HTTP CONNECT
//   socks5://me:p%40ss@proxy.example:1080      SOCKS5, with user name and password
//
// User name and password are percent-decoded, so that they may hold what ends them. The proxy's own
// name is looked up here, the server's by the proxy.
//
// Flags are the process's. Thread-compatible, as they are read only when a command asks.
#ifndef SLUICE_TOOLS_PROXY_FLAG_H_
#define SLUICE_TOOLS_PROXY_FLAG_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/core/dialer.h"

namespace sluice::tools {

struct ProxyUrl {
  std::string scheme;  // "http", "socks5"
  Endpoint endpoint;
  std::string user;
  std::string password;

  // Without user name and password, for messages.
  std::string ToString() const;
};

// Errors: kInvalidArgument, which says what is accepted, and nothing of a password.
absl::StatusOr<ProxyUrl> ParseProxyUrl(absl::string_view text);

// What the flag asks for.
struct ProxyFlag {
  std::shared_ptr<const Dialer> dialer;  // through the proxy; `lower` where there is none
  std::string proxy;                     // for messages; empty where there is none
};
// `lower` makes the connections to the proxy. An error names the flag.
absl::StatusOr<ProxyFlag> ReadProxyFlag(std::shared_ptr<const Dialer> lower);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_PROXY_FLAG_H_
