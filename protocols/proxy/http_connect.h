// HttpConnectDialer makes connections through a proxy that speaks HTTP/1.1, by CONNECT (RFC 9110
// section 9.3.6). Names are resolved by the proxy.
//
// Example:
//   proxy::HttpConnectDialer::Options options;
//   options.proxy = {.host = "10.0.0.1", .port = 3128};
//   options.user = "me";
//   options.password = "secret";
//   auto dialer = proxy::HttpConnectDialer::Create(options);
//   if (!dialer.ok()) return dialer.status();
//   auto attempt = (*dialer)->Dial(loop, {.host = "example.com", .port = 443}, {}, done);
//
// A proxy that is itself reached by TLS has a tls::Dialer beneath it, and for a server with TLS
// there stands one above it. User name and password are sent as they are (Basic, RFC 7617): without
// TLS to the proxy whoever is on the way reads them.
//
// Errors name the proxy and the endpoint:
//   kPermissionDenied     403; 401, 407: the proxy wants a user name and password, or others
//   kNotFound             404, 410
//   kResourceExhausted    429, or an answer over the limits
//   kUnavailable          500 and above (it cannot reach the server), or it ended the connection
//   kFailedPrecondition   all other statuses, and answers that are not HTTP
//   kDeadlineExceeded     not done in time
//   kInvalidArgument      an endpoint that cannot be named to a proxy
// and those of the dialer beneath.
//
// The stream begins with the first byte after the answer's head, also when the server speaks first.
//
// Thread-compatible, and may be shared by all loops; attempts are loop-bound.
#ifndef SLUICE_PROTOCOLS_PROXY_HTTP_CONNECT_H_
#define SLUICE_PROTOCOLS_PROXY_HTTP_CONNECT_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"

namespace sluice::proxy {

class HttpConnectDialer final : public Dialer {
 public:
  struct Options {
    Endpoint proxy = {};
    std::string user = {};  // empty for none
    std::string password = {};
    std::vector<std::pair<std::string, std::string>> headers = {};  // further ones
    // Of the answer.
    size_t max_head_bytes = 8192;
    size_t max_headers = 100;
  };

  // `lower` makes the connection to the proxy; null for a DirectDialer. kInvalidArgument: a proxy
  // that is no endpoint; a user name with ':', control characters in it or in the password, a
  // password without a user; a header that is malformed or written here (Host, Content-Length,
  // Transfer-Encoding, and, where there is a user, Proxy-Authorization).
  static absl::StatusOr<std::shared_ptr<const HttpConnectDialer>> Create(
      const Options& options, std::shared_ptr<const Dialer> lower = nullptr);

  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override;

 private:
  HttpConnectDialer(const Options& options, std::shared_ptr<const Dialer> lower);

  const Options options_;
  const std::shared_ptr<const Dialer> lower_;
  std::string headers_;  // whole lines
};

}  // namespace sluice::proxy

#endif  // SLUICE_PROTOCOLS_PROXY_HTTP_CONNECT_H_
