#include "sluice/core/internal/resolver_query.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/host_name.h"

namespace sluice::internal {
namespace {

using Family = SocketAddress::Family;

class KnownAnswer final : public Resolver::Query {
 public:
  KnownAnswer(EventLoop& loop, absl::StatusOr<Addresses> addresses, Resolver::ResolveFunction done)
      : timer_([this] { Tell(); }), addresses_(std::move(addresses)), done_(std::move(done)) {
    loop.ArmTimer(timer_, absl::ZeroDuration());
  }

 private:
  void Tell() {
    Resolver::ResolveFunction done = std::move(done_);
    done(std::move(addresses_));  // may destroy this
  }

  Timer timer_;
  absl::StatusOr<Addresses> addresses_;
  Resolver::ResolveFunction done_;
};

std::optional<absl::StatusOr<Addresses>> Known(absl::string_view name, Family family) {
  if (absl::Status status = CheckHost(name); !status.ok()) return status;
  if (family != Family::kIpv4 && family != Family::kIpv6) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": a name has addresses of the families IPv4 and IPv6"));
  }
  const SocketAddress literal = LiteralAddress(name);
  if (!literal.is_ip()) return std::nullopt;
  return literal.family() == family ? Addresses{literal} : Addresses{};
}

absl::Status NoAnswerInTime(absl::string_view name, Family family, absl::Duration timeout) {
  return absl::DeadlineExceededError(
      absl::StrCat(name, ": no ", family == Family::kIpv4 ? "IPv4" : "IPv6", " address within ",
                   absl::FormatDuration(timeout)));
}

}  // namespace

std::unique_ptr<Resolver::Query> AnswerWithoutAsking(EventLoop& loop, absl::string_view name,
                                                     Family family,
                                                     Resolver::ResolveFunction& done) {
  std::optional<absl::StatusOr<Addresses>> known = Known(name, family);
  if (!known.has_value()) return nullptr;
  return std::make_unique<KnownAnswer>(loop, *std::move(known), std::move(done));
}

ResolverQuery::ResolverQuery(EventLoop& loop, absl::string_view name, Family family,
                             absl::Duration timeout, Resolver::ResolveFunction done)
    : loop_(loop), name_(name), family_(family), done_(std::move(done)), deadline_([this, timeout] {
        GiveUp();
        Answer(NoAnswerInTime(name_, family_, timeout));
      }) {
  loop.ArmTimer(deadline_, timeout);
}

void ResolverQuery::Answer(absl::StatusOr<Addresses> addresses, absl::Duration time_to_live) {
  if (done_ == nullptr) return;
  time_to_live_ = time_to_live;
  deadline_.Cancel();
  Resolver::ResolveFunction done = std::exchange(done_, nullptr);
  done(std::move(addresses));  // may destroy this
}

void AnswerSlot::Deliver(absl::StatusOr<Addresses> addresses, absl::Duration time_to_live) {
  Post([addresses = std::move(addresses), time_to_live](ResolverQuery& query) mutable {
    query.Answer(std::move(addresses), time_to_live);
  });
}

void AnswerSlot::Post(absl::AnyInvocable<void(ResolverQuery&)> function) {
  // Under the mutex: whoever destroys the query, and then the loop, waits in Close until the loop
  // is not touched any more.
  const std::lock_guard lock(mutex_);
  if (loop_ == nullptr) return;
  loop_->Post([self = shared_from_this(), function = std::move(function)]() mutable {
    if (self->query_ != nullptr) function(*self->query_);
  });
}

void AnswerSlot::Close() {
  const std::lock_guard lock(mutex_);
  loop_ = nullptr;
  query_ = nullptr;
}

}  // namespace sluice::internal
