// HeaderDialer connects by another Dialer, and begins each connection with a PROXY protocol header,
// which tells the server behind whose connection it gets. TLS with that server stands above it,
// since the header comes before all else.
//
// Example: to a server with TLS, for a client.
//
//   auto dialer = std::make_shared<tls::Dialer>(
//       std::make_shared<proxy::HeaderDialer>(
//           direct, proxy::ProxyHeader{.source = client.peer_address(),
//                                      .destination = client.local_address()}),
//       context);
//
// A header is one client's, so that each connection has a HeaderDialer of its own. Errors are the
// lower dialer's, and those of WriteProxyHeader.
//
// Thread-compatible; attempts are loop-bound.
#ifndef SLUICE_PROTOCOLS_PROXY_HEADER_DIALER_H_
#define SLUICE_PROTOCOLS_PROXY_HEADER_DIALER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/protocols/proxy/proxy_protocol.h"

namespace sluice::proxy {

class HeaderDialer final : public Dialer {
 public:
  HeaderDialer(std::shared_ptr<const Dialer> lower, const ProxyHeader& header);

  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override;

 private:
  const std::shared_ptr<const Dialer> lower_;
  const absl::StatusOr<std::string> header_;
};

}  // namespace sluice::proxy

#endif  // SLUICE_PROTOCOLS_PROXY_HEADER_DIALER_H_
