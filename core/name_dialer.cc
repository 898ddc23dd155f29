#include "sluice/core/name_dialer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/core/internal/address_order.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/timer.h"

namespace sluice {
namespace {

using Family = SocketAddress::Family;

// How much a caller learns from it when there are several: the higher, the more. What another try
// may mend comes first, and that there is no such name only when nothing else went wrong.
int Weight(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnavailable:
      return 4;
    case absl::StatusCode::kDeadlineExceeded:
      return 3;
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kNotFound:
      return 1;
    default:
      return 2;
  }
}

class NameAttempt final : public Dialer::Attempt {
 public:
  NameAttempt(EventLoop& loop, const Endpoint& endpoint, const DialOptions& dial,
              const NameDialer::Options& options, Dialer::DialFunction done)
      : loop_(loop),
        endpoint_(endpoint),
        dial_(dial),
        options_(options),
        done_(std::move(done)),
        next_([this] { TryNext(); }),
        deadline_([this] { OnDeadline(); }) {
    tries_.reserve(static_cast<size_t>(options.max_addresses));
  }

  void Start(const Resolver& resolver) {
    // Before the resolver's own deadlines, which are the same: it has more to tell.
    loop_.ArmTimer(deadline_, dial_.timeout);
    for (Lookup& lookup : lookups_) {
      lookup.query =
          resolver.Resolve(loop_, endpoint_.host, lookup.family, dial_.timeout,
                           [this, &lookup](absl::StatusOr<std::vector<SocketAddress>> addresses) {
                             OnAnswer(lookup, std::move(addresses));
                           });
    }
  }

 private:
  struct Lookup {
    Family family;
    std::unique_ptr<Resolver::Query> query = nullptr;
    bool answered = false;
    absl::Status error = {};
  };
  struct Try {
    SocketAddress address;
    std::unique_ptr<Connector> connector;
    absl::Status error;  // OK: under way
  };

  void OnAnswer(Lookup& lookup, absl::StatusOr<std::vector<SocketAddress>> addresses) {
    lookup.answered = true;
    if (addresses.ok()) {
      Join(*addresses);
    } else {
      lookup.error = addresses.status();
    }
    const bool begun = !tries_.empty();
    if (begun && next_.armed()) return;  // there are others to wait for
    if (!begun && !untried_.empty() && !lookups_[0].answered)
      return loop_.ArmTimer(next_, options_.resolution_delay);
    TryNext();
  }

  // What a name server invents is tried at most once, and is bounded.
  void Join(const std::vector<SocketAddress>& addresses) {
    int taken = 0;
    for (const SocketAddress& host : addresses) {
      const SocketAddress address = host.WithPort(endpoint_.port);
      if (!address.is_ip() || IsKnown(address)) continue;
      if (taken++ == options_.max_addresses) break;
      untried_.push_back(
          {address, options_.source_address ? options_.source_address(address) : SocketAddress()});
    }
    internal::SortDestinations(untried_);
  }

  bool IsKnown(const SocketAddress& address) const {
    return std::any_of(untried_.begin(), untried_.end(),
                       [&](const auto& untried) { return untried.address == address; }) ||
           std::any_of(tries_.begin(), tries_.end(),
                       [&](const Try& t) { return t.address == address; });
  }

  // Begins the next try, or ends all when there is nothing left to wait for.
  void TryNext() {
    next_.Cancel();
    // Of a look-up the loop knows nothing, and what is begun now it would not ask to finish.
    if (loop_.draining()) return FinishForDrain();
    const bool enough = tries_.size() == static_cast<size_t>(options_.max_addresses);
    if (enough || untried_.empty()) {
      if (under_way_ == 0 && (enough || lookups_done())) Finish(Failure());
      return;
    }
    if (under_way_ == options_.max_attempts_at_once) return;
    const size_t number = tries_.size();
    tries_.push_back({TakeUntried(), std::make_unique<Connector>(loop_), absl::OkStatus()});
    ++under_way_;
    tries_.back().connector->Connect(tries_.back().address,
                                     {.socket = dial_.socket,
                                      .stream = dial_.stream,
                                      .timeout = absl::InfiniteDuration()},  // there is deadline_
                                     [this, number](absl::StatusOr<std::unique_ptr<Stream>> s) {
                                       OnConnect(tries_[number], std::move(s));
                                     });
    loop_.ArmTimer(next_, options_.attempt_delay);
  }

  // The first of the other family than the last one tried, where there is one.
  SocketAddress TakeUntried() {
    auto next = untried_.begin();
    if (!tries_.empty()) {
      next = std::find_if(untried_.begin(), untried_.end(), [&](const auto& untried) {
        return untried.address.family() != tries_.back().address.family();
      });
      if (next == untried_.end()) next = untried_.begin();
    }
    const SocketAddress address = next->address;
    untried_.erase(next);
    return address;
  }

  void OnConnect(Try& that, absl::StatusOr<std::unique_ptr<Stream>> stream) {
    if (stream.ok()) return Finish(std::move(stream));
    that.error = stream.status();
    --under_way_;
    if (absl::IsCancelled(that.error)) return FinishForDrain();
    TryNext();
  }

  // A loop that drains wants no further connects.
  void FinishForDrain() {
    Finish(absl::CancelledError(Message("no connection, as the loop drains")));
  }

  void OnDeadline() {
    Finish(absl::DeadlineExceededError(
        Message(absl::StrCat("no connection within ", absl::FormatDuration(dial_.timeout)))));
  }

  absl::Status Failure() const {
    const auto heavier = [](const auto& a, const auto& b) {
      return Weight(a.error.code()) < Weight(b.error.code());
    };
    absl::StatusCode code =
        tries_.empty() ? std::max_element(lookups_.begin(), lookups_.end(), heavier)->error.code()
                       : std::max_element(tries_.begin(), tries_.end(), heavier)->error.code();
    if (code == absl::StatusCode::kOk) code = absl::StatusCode::kNotFound;  // a name without any
    return absl::Status(code, Message("no connection"));
  }

  std::string Message(absl::string_view what) const {
    std::vector<std::string> parts;
    for (const Try& t : tries_) {
      parts.push_back(t.error.ok() ? absl::StrCat(t.address.ToString(), ": connect: no answer")
                                   : std::string(t.error.message()));
    }
    if (!untried_.empty()) parts.push_back(absl::StrCat(untried_.size(), " more not tried"));
    for (const Lookup& lookup : lookups_) {
      const absl::string_view family = lookup.family == Family::kIpv6 ? "IPv6" : "IPv4";
      if (!lookup.answered)
        parts.push_back(absl::StrCat("no answer for its ", family, " addresses"));
      // Systems say "no such name" of one that only has no address of that family.
      if (absl::IsNotFound(lookup.error) && tries_.size() + untried_.size() > 0) continue;
      // Both families mostly fail alike.
      std::string error(lookup.error.message());
      if (!error.empty() && (parts.empty() || parts.back() != error))
        parts.push_back(std::move(error));
    }
    if (parts.empty()) parts.push_back("the name has no address");
    return absl::StrCat(endpoint_.ToString(), ": ", what, ": ", absl::StrJoin(parts, "; "));
  }

  void Finish(absl::StatusOr<std::unique_ptr<Stream>> stream) {
    next_.Cancel();
    deadline_.Cancel();
    for (Lookup& lookup : lookups_) lookup.query = nullptr;
    tries_.clear();
    Dialer::DialFunction done = std::move(done_);
    done(std::move(stream));  // may destroy this
  }

  bool lookups_done() const { return lookups_[0].answered && lookups_[1].answered; }

  EventLoop& loop_;
  const Endpoint endpoint_;
  const DialOptions dial_;
  const NameDialer::Options options_;
  Dialer::DialFunction done_;
  std::array<Lookup, 2> lookups_ = {Lookup{Family::kIpv6}, Lookup{Family::kIpv4}};
  std::vector<internal::Destination> untried_;  // sorted
  std::vector<Try> tries_;                      // in the order in which they began
  int under_way_ = 0;                           // of them
  Timer next_;                                  // armed while the next try waits for a delay
  Timer deadline_;
};

absl::Status CheckRange(absl::string_view what, absl::Duration value, absl::Duration least,
                        absl::Duration most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("NameDialer: ", what, " is ", absl::FormatDuration(value), " and must be from ",
                   absl::FormatDuration(least), " to ", absl::FormatDuration(most)));
}

absl::Status CheckRange(absl::string_view what, int value) {
  constexpr int kMost = 100;
  if (value >= 1 && value <= kMost) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("NameDialer: ", what, " is ", value, " and must be from 1 to ", kMost));
}

absl::Status CheckOptions(const NameDialer::Options& options) {
  absl::Status status = CheckRange("resolution_delay", options.resolution_delay,
                                   absl::ZeroDuration(), absl::Seconds(2));
  status.Update(
      CheckRange("attempt_delay", options.attempt_delay, absl::Milliseconds(10), absl::Seconds(2)));
  status.Update(CheckRange("max_addresses", options.max_addresses));
  status.Update(CheckRange("max_attempts_at_once", options.max_attempts_at_once));
  return status;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const NameDialer>> NameDialer::Create(
    std::shared_ptr<const Resolver> resolver, const Options& options) {
  if (resolver == nullptr)
    return absl::InvalidArgumentError("NameDialer: there is no resolver (null)");
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  return std::shared_ptr<const NameDialer>(new NameDialer(std::move(resolver), options));
}

NameDialer::NameDialer(std::shared_ptr<const Resolver> resolver, const Options& options)
    : resolver_(std::move(resolver)), options_(options) {}

std::unique_ptr<Dialer::Attempt> NameDialer::Dial(EventLoop& loop, const Endpoint& endpoint,
                                                  const DialOptions& options,
                                                  DialFunction done) const {
  if (absl::Status status = endpoint.Check(); !status.ok())
    return Fail(loop, std::move(status), std::move(done));
  if (endpoint.Address().is_ip())
    return DirectDialer().Dial(loop, endpoint, options, std::move(done));
  auto attempt = std::make_unique<NameAttempt>(loop, endpoint, options, options_, std::move(done));
  attempt->Start(*resolver_);
  return attempt;
}

SocketAddress NameDialer::SystemSource(const SocketAddress& destination) {
  return internal::SystemSourceAddress(destination);
}

}  // namespace sluice
