// CaresResolver asks the name servers itself, with c-ares: a thousand questions at once on one
// thread, with their real deadlines, where SystemResolver has a thread for each. It knows
// /etc/hosts and /etc/resolv.conf, and nothing else of what a system may be set up with
// (nsswitch.conf, mDNS, NIS). It remembers no answers: that is CachingResolver's.
//
// Example:
//   std::shared_ptr<const CaresResolver> resolver = *CaresResolver::Create({.servers = {server}});
//   std::unique_ptr<Resolver::Query> query = resolver->Resolve(
//       loop, "both.example", SocketAddress::Family::kIpv4, absl::Seconds(5),
//       [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { ... });
//
// A target of its own, //core:resolver_cares, and the only one that links c-ares.
//
// One thread of the resolver's own has c-ares and its sockets; no loop waits for them. It is made
// with the first question. c-ares cannot take one question back: where the asker has given up, it
// goes on until a server answers or `tries` are over, and counts among those under way.
//
// Addresses are in the order of RFC 6724, at most 256 of them, and come with their time to live:
// the shortest of the records that led to them. It is not known of /etc/hosts, nor of what is not
// there, as c-ares does not tell the SOA record of such an answer. Errors beyond those of every
// resolver: a server that refuses, fails or talks nonsense is no server that answers; when none is
// left, that is kUnavailable. What servers send is checked for its number, question and sender; no
// more than that protects it (no DNSSEC, and one source port for questions that overlap).
//
// Thread-safe. Destruction waits for nobody: questions under way are still answered, and the thread
// ends by itself when nobody waits for an answer any more. It shares the descriptor table of the
// thread that asks first, and blocks all signals; with a LoopGroup whose threads have tables of
// their own, make the resolver before the group, as its wake-up descriptor must be in each.
#ifndef SLUICE_CORE_CARES_RESOLVER_H_
#define SLUICE_CORE_CARES_RESOLVER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class CaresResolver final : public Resolver {
 public:
  struct Options {
    // The first is asked first. Port 0 means 53. None: those of /etc/resolv.conf.
    std::vector<SocketAddress> servers = {};
    absl::Duration timeout = absl::Seconds(2);  // of a server, for the first try; then it doubles
    int tries = 3;                              // of each server
    // /etc/hosts, before the servers. Without it there is no "localhost", for which c-ares asks no
    // server: kUnavailable.
    bool hosts_file = true;
    int max_under_way = 1'000;  // 1 to 10,000
  };

  struct Counters {
    uint64_t questions = 0;  // without those that needed nobody, and with those refused
    uint64_t refused = 0;    // of them, because too many were under way or there was no thread
    int under_way = 0;       // now
    int abandoned = 0;       // of these, for nobody any more
  };

  // Reads the system's files. kInvalidArgument for options that cannot be, with those that can;
  // others when there are no descriptors, or no files.
  static absl::StatusOr<std::shared_ptr<const CaresResolver>> Create(const Options& options);
  static absl::StatusOr<std::shared_ptr<const CaresResolver>> Create() { return Create(Options()); }
  ~CaresResolver() override;

  std::unique_ptr<Query> Resolve(EventLoop& loop, absl::string_view name,
                                 SocketAddress::Family family, absl::Duration timeout,
                                 ResolveFunction done) const override;

  Counters counters() const;

 private:
  class Engine;

  explicit CaresResolver(std::shared_ptr<Engine> engine);

  const std::shared_ptr<Engine> engine_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_CARES_RESOLVER_H_
