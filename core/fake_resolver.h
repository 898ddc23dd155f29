// FakeResolver answers what a test has told it, when the test has told it to: addresses, errors,
// silence, by name and family, changing with time or from question to question. It asks nobody and
// keeps no thread; delays are timers of the asking loop, so they pass in virtual time where that
// loop's does (simulation.h).
//
// Example:
//   FakeResolver resolver;
//   resolver.Set("example.com", SocketAddress::Family::kIpv6,
//                {.addresses = FakeResolver::Addresses({"2001:db8::1", "2001:db8::2"}),
//                 .delay = absl::Milliseconds(80)});
//   resolver.Set("example.com", SocketAddress::Family::kIpv4,
//                {.addresses = absl::UnavailableError("SERVFAIL")});
//   std::unique_ptr<Resolver::Query> query = resolver.Resolve(
//       loop, "example.com", SocketAddress::Family::kIpv6, absl::Seconds(5),
//       [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { ... });
//
// A name for which nothing was set does not exist: kNotFound, in a coming turn. One that has an
// answer for one family only exists, and has no addresses of the other. Names are compared without
// regard to case. Literal addresses and what is no name are answered as by every resolver, and are
// not counted as questions.
//
// What a question is answered is settled when it is asked; a Set that comes later is for later
// questions.
//
// Thread-safe, as every resolver. Its queries may outlive it.
#ifndef SLUICE_CORE_FAKE_RESOLVER_H_
#define SLUICE_CORE_FAKE_RESOLVER_H_

#include <initializer_list>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class FakeResolver final : public Resolver {
 public:
  struct Answer {
    // The name of the host is put before the message of an error.
    absl::StatusOr<std::vector<SocketAddress>> addresses = std::vector<SocketAddress>();
    // From the question on. InfiniteDuration: none ever comes.
    absl::Duration delay = absl::ZeroDuration();
    // What the query says of it.
    absl::Duration time_to_live = absl::InfiniteDuration();
  };

  FakeResolver();
  ~FakeResolver() override;

  // {"10.0.0.1", "10.0.0.2"}, with port 0. What is no literal address ends the test.
  static std::vector<SocketAddress> Addresses(std::initializer_list<absl::string_view> literals);

  // What questions for `name` are answered from now on; of a list, one after the other, and the
  // last for good. Replaces what was set before. The list is not empty.
  void Set(absl::string_view name, SocketAddress::Family family, Answer answer);
  void Set(absl::string_view name, SocketAddress::Family family, std::vector<Answer> answers);

  // Questions asked so far: in all, and for one name and family.
  int questions() const;
  int questions(absl::string_view name, SocketAddress::Family family) const;

  // Of those, the ones that are not answered yet, and those given up (destroyed before the answer).
  int pending() const;
  int given_up() const;

  std::unique_ptr<Query> Resolve(EventLoop& loop, absl::string_view name,
                                 SocketAddress::Family family, absl::Duration timeout,
                                 ResolveFunction done) const override;

 private:
  struct State;
  class FakeQuery;

  const std::shared_ptr<State> state_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_FAKE_RESOLVER_H_
