#include "sluice/core/event_loop.h"

#include <algorithm>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/this_thread.h"
#include "sluice/core/member.h"
#include "sluice/core/poller_factory.h"

namespace sluice {

struct EventLoop::PostedFunction final : EventLoop::Posted {
  explicit PostedFunction(absl::AnyInvocable<void()> f) : function(std::move(f)) {}
  void Run() override {
    absl::AnyInvocable<void()> local = std::move(function);
    delete this;
    local();
  }
  void Discard() override { delete this; }
  absl::AnyInvocable<void()> function;
};

struct EventLoop::DrainState {
  DrainState(absl::Duration t, absl::AnyInvocable<void()> d)
      : timeout(t), done(std::move(d)), deadline([this] { expired = true; }) {}
  const absl::Duration timeout;
  absl::AnyInvocable<void()> done;
  Timer deadline;
  bool asked = false;
  bool expired = false;
};

// While one of these is, the calling thread is the loop's.
class EventLoop::Running {
 public:
  explicit Running(EventLoop& loop) : loop_(loop) {
    // Or the loop runs already: on another thread, or further up the stack.
    SLUICE_CHECK(loop_.thread_.exchange(internal::ThisThread(), std::memory_order_relaxed) == 0);
  }
  ~Running() { loop_.thread_.store(0, std::memory_order_relaxed); }

 private:
  EventLoop& loop_;
};

namespace {

// Stands in posted_ for "the loop sleeps, or is about to": who replaces it must wake the loop.
template <typename Posted>
Posted* Sleeping() {
  return reinterpret_cast<Posted*>(uintptr_t{1});
}

// For counters with one writer.
void Add(std::atomic<uint64_t>& counter, uint64_t n) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create(PollerKind kind) {
  absl::StatusOr<std::unique_ptr<Poller>> poller = CreatePoller(kind);
  if (!poller.ok()) return poller.status();
  return std::make_unique<EventLoop>(*std::move(poller));
}

EventLoop::EventLoop(std::unique_ptr<Poller> poller)
    : poller_(std::move(poller)),
      now_(poller_->Now()),
      members_(std::make_unique<Members>()),
      timers_(now_) {}

EventLoop::~EventLoop() {
  EndMembers();
  while (!members_->parked.alone()) members_->parked.next->Unlink();
  // What is destroyed may post.
  while (Posted* posted = posted_.exchange(nullptr, std::memory_order_acquire)) {
    while (posted != nullptr) std::exchange(posted, posted->next)->Discard();
  }
}

void EventLoop::EndMembers() {
  drain_.reset();
  const absl::Status status = absl::CancelledError("the event loop was destroyed");
  VisitMembers([&](Member& member) { member.End(status); });
  while (!members_->settling.alone()) SettleMembers();
}

void EventLoop::Run() {
  const Running running(*this);
  while (!stop_.exchange(false, std::memory_order_acquire))
    RunTurn(MonotonicTime::InfiniteFuture());
}

bool EventLoop::RunUntil(absl::FunctionRef<bool()> done, absl::Duration timeout) {
  const Running running(*this);
  const MonotonicTime deadline = NowExact() + timeout;
  bool result = done();
  while (!result && !stop_.exchange(false, std::memory_order_acquire) && now_ < deadline) {
    RunTurn(deadline);
    result = done();
  }
  return result;
}

void EventLoop::RunOnce(absl::Duration max_wait) {
  const Running running(*this);
  RunTurn(max_wait <= absl::ZeroDuration() ? MonotonicTime() : NowExact() + max_wait);
}

void EventLoop::ReadClock() const {
  now_ = poller_->Now();
  now_is_old_ = false;
}

MonotonicTime EventLoop::NowExact() {
  ReadClock();
  return now_;
}

void EventLoop::ArmTimer(TimerNode& timer, absl::Duration after) {
  // The last turn may be long ago.
  const bool runs = thread_.load(std::memory_order_relaxed) != 0;
  timers_.Arm(timer, (runs ? now() : NowExact()) + after);
}

MonotonicTime EventLoop::NextWork() const {
  const bool at_once =
      !members_->settling.alone() || posted_.load(std::memory_order_relaxed) != nullptr;
  return at_once ? MonotonicTime::InfinitePast() : timers_.NextDeadline();
}

void EventLoop::Stop() {
  stop_.store(true, std::memory_order_release);
  poller_->Wake();
}

bool EventLoop::InLoopThread() const {
  const uint64_t thread = thread_.load(std::memory_order_relaxed);
  return thread == 0 || thread == internal::ThisThread();
}

void EventLoop::Post(absl::AnyInvocable<void()> function) {
  Push(*new PostedFunction(std::move(function)));
}

void EventLoop::Push(Posted& posted) {
  Posted* head = posted_.load(std::memory_order_relaxed);
  do {
    posted.next = head == Sleeping<Posted>() ? nullptr : head;
  } while (!posted_.compare_exchange_weak(head, &posted, std::memory_order_release,
                                          std::memory_order_relaxed));
  // Whoever finds the loop asleep wakes it; all others, until it sleeps again, need not.
  if (head == Sleeping<Posted>()) poller_->Wake();
}

void EventLoop::RunPosted() {
  Posted* newest = posted_.exchange(nullptr, std::memory_order_acquire);
  Posted* oldest = nullptr;
  uint64_t count = 0;
  while (newest != nullptr) {
    Posted* next = std::exchange(newest->next, oldest);
    oldest = std::exchange(newest, next);
    ++count;
  }
  Add(counters_.posts, count);
  while (oldest != nullptr) std::exchange(oldest, oldest->next)->Run();
}

void EventLoop::SetBusyPoll(absl::Duration duration) {
  busy_poll_ = poller_->clock_runs() ? std::max(duration, absl::ZeroDuration()) : absl::Duration();
  busy_until_ = MonotonicTime();
}

// Looks again and again, without telling others that it sleeps: a post is seen without being woken
// by it. Stop wakes, which is an event.
size_t EventLoop::PollBusily(MonotonicTime until) {
  for (ReadClock(); now_ < until && posted_.load(std::memory_order_relaxed) == nullptr;
       ReadClock()) {
    now_is_old_ = true;
    if (const size_t events = poller_->Wait(MonotonicTime()); events != 0) return events;
  }
  return 0;
}

size_t EventLoop::AwaitEvents(MonotonicTime wait_until) {
  bool slept = false;
  if (wait_until != MonotonicTime()) {
    if (ABSL_PREDICT_FALSE(busy_poll_ != absl::ZeroDuration())) {
      const size_t events = PollBusily(std::min(wait_until, busy_until_));
      if (events != 0) return events;
    }
    // Posts that raced with going to sleep must not wait.
    Posted* nothing = nullptr;
    slept = posted_.compare_exchange_strong(nothing, Sleeping<Posted>(), std::memory_order_acquire);
    if (!slept) wait_until = MonotonicTime();
  }
  now_is_old_ = true;  // by as long as it sleeps
  const size_t events = poller_->Wait(wait_until);
  if (slept) {
    Posted* sleeping = Sleeping<Posted>();
    posted_.compare_exchange_strong(sleeping, nullptr, std::memory_order_acquire);
  }
  return events;
}

void EventLoop::RunTurn(MonotonicTime wait_until) {
  // Work that is already there must not wait: sends and closes made before the turn.
  const bool settled = members_->settling.alone();
  const size_t events =
      AwaitEvents(settled ? std::min(wait_until, timers_.NextDeadline()) : MonotonicTime());
  if (now_is_old_) ReadClock();
  const size_t timers = timers_.AdvanceTo(now_);
  Add(counters_.turns, 1);
  Add(counters_.io_events, events);
  Add(counters_.timers, timers);
  const bool posted = posted_.load(std::memory_order_relaxed) != nullptr;
  if (posted) RunPosted();
  if (ABSL_PREDICT_FALSE(busy_poll_ != absl::ZeroDuration()) && (events + timers != 0 || posted))
    busy_until_ = now_ + busy_poll_;
  if (ABSL_PREDICT_FALSE(drain_ != nullptr)) AskToDrain();
  if (!members_->settling.alone()) SettleMembers();
  if (ABSL_PREDICT_FALSE(drain_ != nullptr)) CheckDrained();
}

// Each once: what they put off again while being settled waits for the next turn.
void EventLoop::SettleMembers() {
  Link& now = members_->settling_now;
  now.TakeAll(members_->settling);
  while (!now.alone()) {
    auto& member = static_cast<Member&>(*now.next);
    member.Unlink();
    member.InsertBefore(members_->resting);
    member.Settle();
  }
}

// Calls `visit` for every member there is now. Each is put off to be settled, so that the lists can
// be walked while members come and go.
void EventLoop::VisitMembers(absl::FunctionRef<void(Member&)> visit) {
  Link all;
  all.TakeAll(members_->resting);
  all.TakeAll(members_->settling);
  all.TakeAll(members_->settling_now);
  members_->visiting = true;
  while (!all.alone()) {
    auto& member = static_cast<Member&>(*all.next);
    member.Unlink();
    member.InsertBefore(members_->settling);
    visit(member);
  }
  members_->visiting = false;
}

void EventLoop::Drain(absl::Duration timeout, absl::AnyInvocable<void()> done) {
  drain_ = std::make_unique<DrainState>(timeout, std::move(done));
  ArmTimer(drain_->deadline, timeout);
  poller_->Wake();  // there may be no event to end the next turn's wait with
}

// At the end of a turn, and not inside Drain: that may be called by a handler in the middle of a
// callback, and who holds lent bytes there does not expect another one.
void EventLoop::AskToDrain() {
  if (std::exchange(drain_->asked, true)) return;
  VisitMembers([](Member& member) { member.OnDrain(); });
}

void EventLoop::CheckDrained() {
  if (drain_->expired && members_->count != 0) {
    const absl::Status status = absl::DeadlineExceededError(absl::StrCat(
        "not finished within the drain timeout of ", absl::FormatDuration(drain_->timeout)));
    VisitMembers([&](Member& member) { member.End(status); });
  }
  // What has nobody to tell of its end has left at once.
  if (members_->count != 0) return;
  absl::AnyInvocable<void()> done = std::move(drain_->done);
  drain_.reset();
  if (done) done();
}

EventLoop::Counters EventLoop::counters() const {
  Counters result;
  result.turns = counters_.turns.load(std::memory_order_relaxed);
  result.io_events = counters_.io_events.load(std::memory_order_relaxed);
  result.timers = counters_.timers.load(std::memory_order_relaxed);
  result.posts = counters_.posts.load(std::memory_order_relaxed);
  result.streams = counters_.streams.load(std::memory_order_relaxed);
  return result;
}

EventLoop::Member::Member(EventLoop& loop) : loop_(&loop) {
  InsertBefore(loop.members_->NewcomersList());
  loop.counters_.streams.store(++loop.members_->count, std::memory_order_relaxed);
}

EventLoop::Member::~Member() { Leave(); }

void EventLoop::Member::Leave() {
  if (left()) return;
  Unlink();
  loop_->counters_.streams.store(--loop_->members_->count, std::memory_order_relaxed);
  if (loop_->running_ == this) loop_->running_ = nullptr;
}

void EventLoop::Member::Park() {
  Leave();
  InsertBefore(loop_->members_->parked);
}

void EventLoop::Member::Unpark() {
  if (left()) return;
  Unlink();
  InsertBefore(loop_->members_->NewcomersList());
  loop_->counters_.streams.store(++loop_->members_->count, std::memory_order_relaxed);
}

}  // namespace sluice
