// Resolver finds the addresses that a host's name stands for, without blocking a loop. It is the
// interface: SystemResolver (system_resolver.h) asks the system, CaresResolver (cares_resolver.h)
// the name servers themselves, CachingResolver (caching_resolver.h) remembers what another one has
// answered, FakeResolver (fake_resolver.h) answers what a test has told it. It makes no
// connections: that is NameDialer's (name_dialer.h).
//
// Example:
//   std::shared_ptr<const Resolver> resolver = *SystemResolver::Create();
//   std::unique_ptr<Resolver::Query> query = resolver->Resolve(
//       loop, "example.com", SocketAddress::Family::kIpv6, absl::Seconds(5),
//       [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { ... });
//
// One question is for one family, so that who needs any connection need not wait for the slower
// answer (RFC 8305 section 3).
//
// Answers are addresses with port 0, in the order in which they should be tried. An empty list says
// that the name is there and has no address of that family. Errors:
//   kNotFound           there is no such name
//   kUnavailable        no server answered, or none could: it may be there
//   kDeadlineExceeded   no answer in time
//   kInvalidArgument    what cannot be a name: the message says what can
//   kResourceExhausted  too many questions are under way
// and each names the host.
//
// A literal address is its own answer, without anybody being asked.
//
// Thread-safe: one resolver serves all loops, and is therefore held by shared_ptr<const Resolver>.
// A query is loop-bound, and is to be destroyed before its loop; the resolver may go earlier: a
// query that is under way keeps what it needs.
#ifndef SLUICE_CORE_RESOLVER_H_
#define SLUICE_CORE_RESOLVER_H_

#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class Resolver {
 public:
  // A question under way. Destroyed before the answer, it is given up, and the function not called.
  class Query {
   public:
    Query() = default;
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;
    virtual ~Query() = default;

    // For how long the answer may be remembered, once it is given (also inside the function that is
    // given it). Infinite where nobody says.
    virtual absl::Duration time_to_live() const { return absl::InfiniteDuration(); }
  };

  // Called once, by the loop, never from inside Resolve. May destroy the query.
  using ResolveFunction =
      absl::AnyInvocable<void(absl::StatusOr<std::vector<SocketAddress>> addresses)>;

  Resolver() = default;
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  virtual ~Resolver() = default;

  // `family` is kIpv4 (A records) or kIpv6 (AAAA).
  virtual std::unique_ptr<Query> Resolve(EventLoop& loop, absl::string_view name,
                                         SocketAddress::Family family, absl::Duration timeout,
                                         ResolveFunction done) const = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_RESOLVER_H_
