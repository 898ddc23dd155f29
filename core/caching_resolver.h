// CachingResolver remembers for a while what another resolver has answered, and asks it once where
// several askers want to know the same at the same time. It looks nothing up itself.
//
// Example:
//   auto resolver = std::make_shared<const CachingResolver>(
//       *SystemResolver::Create(), CachingResolver::Options{.time_to_live = absl::Minutes(1)});
//   std::unique_ptr<Resolver::Query> query = resolver->Resolve(
//       loop, "localhost", SocketAddress::Family::kIpv4, absl::Seconds(5),
//       [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { ... });
//
// Names are compared without regard to case. "example.com." is another name than "example.com": for
// the latter, the system also tries its search domains.
//
// Each asker has its own deadline, and may give up by itself. The question below goes on while one
// asker is left; it is given the longest time that an asker then has, and asked anew when that was
// not enough for one who came later, or when the last asker of the loop that it was asked on has
// gone and there are others elsewhere. Askers of one question are answered in the order in which
// they came. Who asks while a question is under way joins it and does not change it.
//
// What is no answer is not remembered: kDeadlineExceeded, kResourceExhausted, kInvalidArgument. An
// answer that comes with a time to live is remembered for that, within the bounds of the options
// (CaresResolver tells that of addresses); else the options say for how long. What is left of that
// time is the time to live of what this resolver answers, so that a cache over it adds nothing. An
// answer of more than kMostAddresses addresses is passed on, and not remembered. When there are
// max_entries answers, the one that was not asked for the longest goes.
//
// Thread-safe: one cache for all loops, whose clocks must be one (those of a process are; those of
// a simulation are). Time is the asking loop's.
#ifndef SLUICE_CORE_CACHING_RESOLVER_H_
#define SLUICE_CORE_CACHING_RESOLVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class CachingResolver final : public Resolver {
 public:
  static constexpr size_t kMostAddresses = 64;

  // What lives for no time is not remembered.
  struct Options {
    size_t max_entries = 1'000;  // 0: nothing is remembered, and equal questions still become one
    // Where nobody says: of addresses; of that there is no such name, or no such address.
    absl::Duration time_to_live = absl::Seconds(30);
    absl::Duration negative_time_to_live = absl::Seconds(5);
    // Of kUnavailable: spares a server that is down the questions of all who try again at once.
    absl::Duration unavailable_time_to_live = absl::ZeroDuration();
    // The bounds of those that come with such answers. Where they cross, the least holds.
    absl::Duration least_time_to_live = absl::ZeroDuration();
    absl::Duration most_time_to_live = absl::Hours(24);
  };

  // Each question that needed somebody to be asked is one of the first three.
  struct Counters {
    uint64_t hits = 0;
    uint64_t misses = 0;
    uint64_t coalesced = 0;  // joined a question that was under way
    uint64_t evictions = 0;  // of answers that would have been remembered for longer
    size_t entries = 0;      // now, with those whose time is over
    size_t under_way = 0;    // questions, now
  };

  explicit CachingResolver(std::shared_ptr<const Resolver> below)
      : CachingResolver(std::move(below), Options()) {}
  CachingResolver(std::shared_ptr<const Resolver> below, const Options& options);
  ~CachingResolver() override;

  std::unique_ptr<Query> Resolve(EventLoop& loop, absl::string_view name,
                                 SocketAddress::Family family, absl::Duration timeout,
                                 ResolveFunction done) const override;

  Counters counters() const;

 private:
  class Cache;
  class CachedQuery;
  struct Question;

  const std::shared_ptr<Cache> cache_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_CACHING_RESOLVER_H_
