#include "sluice/protocols/proxy/header_dialer.h"

#include <utility>

#include "sluice/core/stream.h"

namespace sluice::proxy {

HeaderDialer::HeaderDialer(std::shared_ptr<const Dialer> lower, const ProxyHeader& header)
    : lower_(std::move(lower)), header_(WriteProxyHeader(header)) {}

std::unique_ptr<Dialer::Attempt> HeaderDialer::Dial(EventLoop& loop, const Endpoint& endpoint,
                                                    const DialOptions& options,
                                                    DialFunction done) const {
  if (!header_.ok()) return Dialer::Fail(loop, header_.status(), std::move(done));
  return lower_->Dial(loop, endpoint, options,
                      [header = *header_, done = std::move(done)](
                          absl::StatusOr<std::unique_ptr<Stream>> stream) mutable {
                        if (stream.ok()) (*stream)->Send(header);
                        done(std::move(stream));
                      });
}

}  // namespace sluice::proxy
