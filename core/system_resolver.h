// SystemResolver asks the system, as every other program does: getaddrinfo(3), which knows
// /etc/hosts, "localhost", search domains and whatever else the machine is set up with. That call
// blocks, so it runs on a few threads of the resolver's own. It remembers no answers: that is
// CachingResolver's.
//
// Example:
//   std::shared_ptr<const SystemResolver> resolver = *SystemResolver::Create();
//   std::unique_ptr<Resolver::Query> query = resolver->Resolve(
//       loop, "localhost", SocketAddress::Family::kIpv4, absl::Seconds(5),
//       [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { ... });
//
// Nothing can interrupt getaddrinfo. A query that is destroyed, or whose time is up, is over for
// its asker at once; where it was still waiting for a thread, it is forgotten; but a thread that
// has begun to look up stays taken until the system lets it go (with the defaults of
// /etc/resolv.conf and silent servers: 10 seconds for each of them). Counters::abandoned tells how
// many there are. While all threads are taken, questions wait, `max_queued` of them, in their
// order; those beyond it get kResourceExhausted. Questions that are alike are asked as often as
// they come. Of an answer, the first 256 addresses are passed on.
//
// Thread-safe. Destruction waits for nobody: questions that were asked are still answered, and each
// thread ends by itself when it has nothing left to do. So one may live on for as long as the
// system keeps it, and uses nothing but what it owns.
//
// The threads share the descriptor table of the thread that asks first. They block all signals.
// They know nothing of a simulation's time: there, ask a FakeResolver.
#ifndef SLUICE_CORE_SYSTEM_RESOLVER_H_
#define SLUICE_CORE_SYSTEM_RESOLVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class SystemResolver final : public Resolver {
 public:
  // Blocks until it knows the answer. Called by several threads at once, also when the resolver is
  // gone: what it uses it must own.
  using LookUpFunction = std::function<absl::StatusOr<std::vector<SocketAddress>>(
      const std::string& name, SocketAddress::Family family)>;

  struct Options {
    int threads = 4;  // at most; each is made when it is first needed
    int max_queued = 1'000;
    LookUpFunction look_up = nullptr;  // another one than the system's
  };

  struct Counters {
    uint64_t questions = 0;  // without those that needed nobody, and with those refused
    uint64_t refused = 0;    // of them, because too many waited or there was no thread to be had
    int threads = 0;         // now
    int busy = 0;            // of these, looking up
    int abandoned = 0;       // of these, for nobody any more
    int queued = 0;          // questions that wait for a thread, now
  };

  // kInvalidArgument unless there is from 1 to 1024 threads and a queue of 0 or more.
  static absl::StatusOr<std::shared_ptr<const SystemResolver>> Create(const Options& options);
  static absl::StatusOr<std::shared_ptr<const SystemResolver>> Create() {
    return Create(Options());
  }
  ~SystemResolver() override;

  std::unique_ptr<Query> Resolve(EventLoop& loop, absl::string_view name,
                                 SocketAddress::Family family, absl::Duration timeout,
                                 ResolveFunction done) const override;

  Counters counters() const;

 private:
  class Pool;

  explicit SystemResolver(const Options& options);

  const std::shared_ptr<Pool> pool_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SYSTEM_RESOLVER_H_
