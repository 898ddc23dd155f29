// NameDialer connects to hosts by name. It asks a Resolver for the host's IPv6 and IPv4 addresses
// and tries them by RFC 8305, "Happy Eyeballs version 2": sorted, the families in turn, the next
// one while the one before has not answered; the first connection that stands is taken, and the
// others are given up. So a family or an address that leads nowhere costs a quarter of a second,
// and not the deadline. An endpoint that is an address is connected to at once, and nobody is
// asked.
//
// Example:
//   auto dialer = NameDialer::Create(resolver);
//   if (!dialer.ok()) return dialer.status();
//   auto attempt = (*dialer)->Dial(loop, {.host = "example.com", .port = 443}, {}, done);
//
// It makes TCP connections, and what else is wanted stands on it: a tls::Dialer, or a proxy's that
// is itself reached by name.
//
// When what happens:
//   * Both questions are asked at once. The first try begins when the IPv6 addresses are there; or,
//     when those are not, `resolution_delay` after the IPv4 ones.
//   * The next address is tried when a try has failed, at the latest `attempt_delay` after the one
//     before it was begun, unless `max_attempts_at_once` are under way.
//   * Addresses that come later join those that have not been tried.
//   * DialOptions::timeout is for the whole of it.
//
// Order: the destination rules of RFC 6724 (internal/address_order.h), with the source addresses
// that the system has for them; then the families take turns, beginning with the first address's.
//
// Errors name the endpoint, and each address with why it failed:
//   example.com:443: no connection: [2001:db8::1]:443: connect: Connection refused;
//   192.0.2.1:443: connect: Connection refused                                (in one line)
//   kNotFound            there is no such name, or it has no address
//   kUnavailable         an address refused or was unreachable; or no name server could answer
//   kDeadlineExceeded    not done in time: what was still under way is named
//   kInvalidArgument     an endpoint that is none, or what the resolver does not take for a name
//   kCancelled           the loop drains
// and others of a Connector, when all tries ended so, and of the Resolver.
//
// Thread-compatible, and may be shared by all loops; attempts are loop-bound.
#ifndef SLUICE_CORE_NAME_DIALER_H_
#define SLUICE_CORE_NAME_DIALER_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class NameDialer final : public Dialer {
 public:
  // From which address one would talk to `destination`; none where there is no way.
  using SourceFunction = std::function<SocketAddress(const SocketAddress& destination)>;

  struct Options {
    absl::Duration resolution_delay = absl::Milliseconds(50);  // up to 2 s
    absl::Duration attempt_delay = absl::Milliseconds(250);    // 10 ms to 2 s
    int max_addresses = 16;        // that are tried, and that are taken of one answer; 1 to 100
    int max_attempts_at_once = 8;  // 1 to 100
    // Null where no addresses of this system's are meant, as in a simulated network: the order then
    // is by the destinations alone. Called by all loops' threads.
    SourceFunction source_address = SystemSource;
  };

  // kInvalidArgument: no resolver, or an option that is out of its range.
  static absl::StatusOr<std::shared_ptr<const NameDialer>> Create(
      std::shared_ptr<const Resolver> resolver, const Options& options);
  static absl::StatusOr<std::shared_ptr<const NameDialer>> Create(
      std::shared_ptr<const Resolver> resolver) {
    return Create(std::move(resolver), Options());
  }

  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override;

  // What the system's routes say; nothing is sent.
  static SocketAddress SystemSource(const SocketAddress& destination);

 private:
  NameDialer(std::shared_ptr<const Resolver> resolver, const Options& options);

  const std::shared_ptr<const Resolver> resolver_;
  const Options options_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_NAME_DIALER_H_
