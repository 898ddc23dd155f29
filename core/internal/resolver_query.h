// What all resolvers share: the asker's side of a question, and what needs nobody to be asked.
//
// A ResolverQuery belongs to its loop. Where somebody on another thread knows the answer, the two
// meet in an AnswerSlot, which either of them may outlive:
//
//   loop's thread   ResolverQuery --- AnswerSlot <--- whoever looks up    any thread
//                        |                 |
//                   Close, at its end   Deliver, Post: post to the loop, unless closed
#ifndef SLUICE_CORE_INTERNAL_RESOLVER_QUERY_H_
#define SLUICE_CORE_INTERNAL_RESOLVER_QUERY_H_

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/timer.h"

namespace sluice::internal {

using Addresses = std::vector<SocketAddress>;

// A query that answers in a coming turn what needs nobody: the address that `name` is (no address,
// for the other family), or kInvalidArgument for what is no host and for a family that is none of
// the two. Else nothing, and `done` is left as it was.
std::unique_ptr<Resolver::Query> AnswerWithoutAsking(EventLoop& loop, absl::string_view name,
                                                     SocketAddress::Family family,
                                                     Resolver::ResolveFunction& done);

// An asker and its deadline. Loop-bound.
class ResolverQuery : public Resolver::Query {
 public:
  ResolverQuery(EventLoop& loop, absl::string_view name, SocketAddress::Family family,
                absl::Duration timeout, Resolver::ResolveFunction done);

  // Calls the function, unless it has been called. May destroy this.
  void Answer(absl::StatusOr<Addresses> addresses,
              absl::Duration time_to_live = absl::InfiniteDuration());

  absl::Duration time_to_live() const final { return time_to_live_; }
  EventLoop& loop() const { return loop_; }
  const std::string& name() const { return name_; }
  SocketAddress::Family family() const { return family_; }
  MonotonicTime deadline() const { return deadline_.deadline(); }

 private:
  // Before the function hears that time is up: nobody waits for the answer any more.
  virtual void GiveUp() = 0;

  EventLoop& loop_;
  const std::string name_;
  const SocketAddress::Family family_;
  Resolver::ResolveFunction done_;
  absl::Duration time_to_live_ = absl::InfiniteDuration();
  Timer deadline_;
};

// Thread-safe, but for Close. Held by shared_ptr from both sides.
class AnswerSlot : public std::enable_shared_from_this<AnswerSlot> {
 public:
  explicit AnswerSlot(ResolverQuery& query) : loop_(&query.loop()), query_(&query) {}

  // The query gets the answer in a coming turn of its loop. Answers from one thread to one loop
  // come in their order. Nothing happens when the slot is closed.
  void Deliver(absl::StatusOr<Addresses> addresses,
               absl::Duration time_to_live = absl::InfiniteDuration());

  // The same, of anything that is to be done with the query.
  void Post(absl::AnyInvocable<void(ResolverQuery&)> function);

  // On the loop's thread, before the query goes; more than once does no harm. When this returns,
  // no other thread is about to touch the loop.
  void Close();

 private:
  std::mutex mutex_;
  EventLoop* loop_;       // null when closed
  ResolverQuery* query_;  // touched on the loop's thread only
};

// The query of a resolver that looks up on threads of its own: what those know of it is a Job
// {name, family, slot}, which Asked::Add takes, or says why not, and answers through its slot;
// Asked::Abandon says, once, that nobody waits for it any more.
template <typename Asked>
class JobQuery final : public ResolverQuery {
 public:
  JobQuery(EventLoop& loop, absl::string_view name, SocketAddress::Family family,
           absl::Duration timeout, Resolver::ResolveFunction done, std::shared_ptr<Asked> asked)
      : ResolverQuery(loop, name, family, timeout, std::move(done)),
        asked_(std::move(asked)),
        slot_(std::make_shared<AnswerSlot>(*this)),
        job_(new typename Asked::Job{.name = this->name(), .family = family, .slot = slot_}) {
    if (absl::Status status = asked_->Add(job_); !status.ok()) slot_->Deliver(std::move(status));
  }

  ~JobQuery() override { GiveUp(); }

 private:
  void GiveUp() override {
    if (std::exchange(gave_up_, true)) return;
    slot_->Close();
    asked_->Abandon(*job_);
  }

  const std::shared_ptr<Asked> asked_;
  const std::shared_ptr<AnswerSlot> slot_;
  const std::shared_ptr<typename Asked::Job> job_;
  bool gave_up_ = false;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_RESOLVER_QUERY_H_
