// Socks5Dialer makes connections through a SOCKS5 proxy (RFC 1928), without authentication or by
// user name and password (RFC 1929). Names are sent to the proxy, which resolves them.
//
// Example:
//   proxy::Socks5Dialer::Options options;
//   options.proxy = {.host = "10.0.0.1", .port = 1080};
//   auto dialer = proxy::Socks5Dialer::Create(options);
//   if (!dialer.ok()) return dialer.status();
//   auto attempt = (*dialer)->Dial(loop, {.host = "example.com", .port = 443}, {}, done);
//
// User name and password are sent as they are: without TLS to the proxy (a tls::Dialer beneath)
// whoever is on the way reads them. They are offered beside "no authentication", and the proxy
// chooses.
//
// Errors name the proxy and the endpoint:
//   kPermissionDenied     the proxy accepts none of the methods, or not this user; its rules forbid
//                         the connection
//   kUnavailable          it cannot reach the server, or ended the connection
//   kFailedPrecondition   it does not speak SOCKS5, or cannot do this
//   kDeadlineExceeded     not done in time
//   kInvalidArgument      an endpoint that cannot be named to a proxy
// and those of the dialer beneath.
//
// Thread-compatible, and may be shared by all loops; attempts are loop-bound.
#ifndef SLUICE_PROTOCOLS_PROXY_SOCKS5_H_
#define SLUICE_PROTOCOLS_PROXY_SOCKS5_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"

namespace sluice::proxy {

class Socks5Dialer final : public Dialer {
 public:
  struct Options {
    Endpoint proxy = {};
    std::string user = {};      // empty for none; at most 255 bytes
    std::string password = {};  // at most 255 bytes; not empty where there is a user
  };

  // `lower` makes the connection to the proxy; null for a DirectDialer. kInvalidArgument: a proxy
  // that is no endpoint; a user name or password that is too long, or one without the other.
  static absl::StatusOr<std::shared_ptr<const Socks5Dialer>> Create(
      const Options& options, std::shared_ptr<const Dialer> lower = nullptr);

  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override;

 private:
  Socks5Dialer(const Options& options, std::shared_ptr<const Dialer> lower);

  const Options options_;
  const std::shared_ptr<const Dialer> lower_;
};

}  // namespace sluice::proxy

#endif  // SLUICE_PROTOCOLS_PROXY_SOCKS5_H_
