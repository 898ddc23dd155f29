// AcceptProxied reads the PROXY protocol's header (proxy_protocol.h) from a connection that has
// just been accepted, and hands the connection on: with TLS or any protocol over it, which see the
// first byte behind the header and all that follow.
//
// Example:
//   auto listener = Listener::Listen(loop, address, {}, [&](std::unique_ptr<Stream> stream) {
//     proxy::AcceptProxied(std::move(stream), {}, [&](absl::StatusOr<proxy::Proxied> proxied) {
//       if (proxied.ok()) Serve(std::move(proxied->stream), proxied->header.source);
//     });
//   });
//
// The header must come: a connection without one is ended, so that nobody who gets past the proxy
// can say who he is. It is for listeners that only proxies reach.
//
// Errors: those of ReadProxyHeader; kDeadlineExceeded when it is not there in time; kUnavailable
// when the connection ended before; kCancelled when the loop drains or goes. Each names the peer.
//
// Loop-bound.
#ifndef SLUICE_PROTOCOLS_PROXY_ACCEPT_PROXIED_H_
#define SLUICE_PROTOCOLS_PROXY_ACCEPT_PROXIED_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/proxy/proxy_protocol.h"

namespace sluice::proxy {

struct AcceptProxiedOptions {
  ProxyHeaderOptions header = {};
  absl::Duration timeout = absl::Seconds(5);
};

struct Proxied {
  std::unique_ptr<Stream> stream;  // without a handler
  ProxyHeader header;
};

// Called once, by the loop, never from inside AcceptProxied.
using ProxiedFunction = absl::AnyInvocable<void(absl::StatusOr<Proxied>)>;

// `stream` is as Listener gives it: without a handler. It is the loop's until `done` is called.
void AcceptProxied(std::unique_ptr<Stream> stream, const AcceptProxiedOptions& options,
                   ProxiedFunction done);

}  // namespace sluice::proxy

#endif  // SLUICE_PROTOCOLS_PROXY_ACCEPT_PROXIED_H_
