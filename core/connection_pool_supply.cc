// Requests, and where the connections for them come from: who gets the room that there is, dials,
// and the reserve.
#include <algorithm>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/connection_pool_state.h"
#include "sluice/core/internal/check.h"

namespace sluice::internal {

PooledTarget::PooledTarget(PoolState& owner, const Endpoint& to, std::shared_ptr<const Dialer> by)
    : pool(&owner), endpoint(to), dialer(std::move(by)), retry([this] { pool->Attend(*this); }) {}

PoolRequest* PooledTarget::FirstWaiting() {
  PoolRequest* const first = any.front();
  PoolRequest* const other = fresh.front();
  if (first == nullptr || other == nullptr) return first != nullptr ? first : other;
  return first->order < other->order ? first : other;
}

size_t PooledTarget::MissingReserve() const {
  const size_t there = counts.idle + counts.checking + SurplusDials();
  if (handles == 0 || there >= options.min_idle || counts.open() >= options.max_open) return 0;
  return std::min(options.min_idle - there, options.max_open - counts.open());
}

PooledTarget& PoolState::GetTarget(const Endpoint& endpoint, std::shared_ptr<const Dialer> dialer,
                                   const ConnectionPool::TargetOptions* options) {
  SLUICE_DCHECK(loop_.InLoopThread());
  PooledTarget*& target = by_key_[Key(endpoint.host, endpoint.port, dialer.get())];
  const bool is_new = target == nullptr;
  if (is_new) {
    target = new PooledTarget(*this, endpoint, std::move(dialer));
    targets_.PushBack(*target);
  }
  if (is_new || options != nullptr) {
    target->options = options != nullptr ? *options : options_.target;
    TrimIdle(*target);
    OnChange(*target);
  }
  return *target;
}

// Requests.

std::unique_ptr<PoolRequest> PoolState::Borrow(PooledTarget& target,
                                               const ConnectionPool::BorrowOptions& options,
                                               ConnectionPool::BorrowFunction done) {
  SLUICE_DCHECK(loop_.InLoopThread());
  auto request = std::make_unique<PoolRequest>(target, NextOrder(), options,
                                               loop_.NowExact() + options.timeout, std::move(done));
  ++statistics_.borrows;
  ++target.requests;
  if (Stopped()) {
    const absl::Status why = WhyStopped();
    Fail(*request, &PoolStatistics::refused,
         absl::Status(why.code(), absl::StrCat(target.endpoint.ToString(), ": ", why.message())));
  } else if (!HasPlace(target) && !NeedsNotWait(target, options)) {
    Fail(*request, &PoolStatistics::refused, TooManyWait(target));
  } else {
    Enqueue(*request);
    Supply(target);
  }
  return request;
}

bool PoolState::HasPlace(const PooledTarget& target) const {
  return target.counts.waiting < target.options.max_waiting &&
         statistics_.now.waiting < options_.max_waiting;
}

absl::Status PoolState::TooManyWait(const PooledTarget& target) const {
  return absl::ResourceExhaustedError(
      absl::StrCat(target.endpoint.ToString(), ": ", target.counts.waiting,
                   " requests wait for a connection (at most ", target.options.max_waiting, "), ",
                   statistics_.now.waiting, " in the whole pool (", options_.max_waiting, ")"));
}

// Whether it can be lent one that is idle: then it is no matter how many others wait.
bool PoolState::NeedsNotWait(PooledTarget& target, const ConnectionPool::BorrowOptions& options) {
  if (options.fresh_only || !target.any.empty()) return false;
  const PooledConnection* const connection = FirstIdle(target);
  return connection != nullptr && !Stale(*connection);
}

// In their order, also those that have waited before.
void PoolState::Enqueue(PoolRequest& request) {
  PooledTarget& target = *request.target;
  IntrusiveList<PoolRequest, InTarget>& queue =
      request.asked.fresh_only ? target.fresh : target.any;
  if (request.asked.fresh_only) ++target.fresh_waiting;
  Count(target, &PoolCounts::waiting, +1);
  PoolRequest* next = nullptr;
  if (!queue.empty() && queue.back()->order > request.order) {
    next = queue.front();
    while (next->order < request.order) next = queue.Next(*next);
  }
  next != nullptr ? queue.InsertBefore(*next, request) : queue.PushBack(request);
  request.AwaitDeadline();
}

void PoolState::Dequeue(PoolRequest& request) {
  PooledTarget& target = *request.target;
  IntrusiveList<PoolRequest, InTarget>::Remove(request);
  if (request.asked.fresh_only) --target.fresh_waiting;
  Count(target, &PoolCounts::waiting, -1);
}

void PoolState::Requeue(PooledConnection& connection) {
  PoolRequest& request = *std::exchange(connection.request, nullptr);
  IntrusiveList<PoolRequest, InPool>::Remove(request);
  Enqueue(request);
}

void PoolState::Match(PooledConnection& connection, PoolRequest& request, bool reused) {
  PooledTarget& target = *connection.target;
  Dequeue(request);
  Move(connection, PooledConnection::kReady);
  connection.reused = reused;
  connection.request = &request;
  settled_.PushBack(request);
  request.Get(connection);
  target.last_served = NextOrder();
  // The next turn is another's.
  IntrusiveList<PooledTarget, Hungry>::Remove(target);
  UpdateDemand(target);
}

void PoolState::Fail(PoolRequest& request, uint64_t PoolStatistics::*as, absl::Status status) {
  if (IntrusiveList<PoolRequest, InTarget>::Linked(request)) Dequeue(request);
  ++(statistics_.*as);
  settled_.PushBack(request);
  request.Fail(std::move(status));
}

void PoolState::GiveUp(PoolRequest& request) {
  PooledTarget& target = *request.target;
  PooledConnection* const connection = request.connection;
  const bool waiting = IntrusiveList<PoolRequest, InTarget>::Linked(request);
  if (waiting) Dequeue(request);
  if (waiting || connection != nullptr) ++statistics_.given_up;
  Release(request);
  if (connection != nullptr) {
    connection->request = nullptr;
    if (!connection->Reusable()) return Cut(*connection, &Closed::ended);
    connection->stream->SetHandler(*connection);
    Recycle(*connection);
  }
  OnChange(target);
}

absl::Status PoolState::TimeOut(PoolRequest& request) {
  PooledTarget& target = *request.target;
  Dequeue(request);
  ++statistics_.timed_out;
  OnChange(target);
  return absl::DeadlineExceededError(absl::StrCat(
      target.endpoint.ToString(), ": no connection within ",
      absl::FormatDuration(request.asked.timeout), ": ", target.counts.open(), " of ",
      target.options.max_open, " are open (", statistics_.now.open(), " of ", options_.max_open,
      " in the whole pool), ", target.counts.waiting, " other requests wait"));
}

ConnectionPool::Lease PoolState::Deliver(PoolRequest& request) {
  PooledConnection& connection = *request.connection;
  connection.request = nullptr;
  return Lend(connection, connection.reused);
}

void PoolState::Release(PoolRequest& request) {
  PooledTarget& target = *request.target;
  IntrusiveList<PoolRequest, InPool>::Remove(request);
  --target.requests;
  if (target.unused()) Attend(target);
}

// Supply.

// Gives waiting requests what is idle, and has what is then missing dialed.
void PoolState::Supply(PooledTarget& target) {
  if (Stopped()) return WorkSoon();
  while (!target.any.empty()) {
    PooledConnection* const connection = FirstIdle(target);
    if (connection == nullptr) break;
    const bool stale = Stale(*connection);
    if (stale && target.counts.checking >= target.any_waiting()) break;
    Unlink(*connection);
    if (stale) {
      Move(*connection, PooledConnection::kChecking);
      connection->check = std::make_unique<PoolCheck>(*connection);
    } else {
      Match(*connection, *target.any.front(), /*reused=*/true);
    }
  }
  OnChange(target);
  DialForHungry();
}

void PoolState::UpdateDemand(PooledTarget& target) {
  surplus_ += target.SurplusDials() - target.surplus;
  target.surplus = target.SurplusDials();
  const bool may_open = target.counts.open() < target.options.max_open || !target.idle.empty() ||
                        !target.closing.empty();
  const bool hungry = !Stopped() && target.wants_dial() && may_open;
  if (hungry == IntrusiveList<PooledTarget, Hungry>::Linked(target)) return;
  if (!hungry) return IntrusiveList<PooledTarget, Hungry>::Remove(target);
  target.hungry_since = NextOrder();
  hungry_.PushBack(target);
}

// While there is room their turns do not matter.
PooledTarget* PoolState::Neediest() {
  PooledTarget* best = hungry_.front();
  if (best == nullptr || HasRoom()) return best;
  for (PooledTarget* t = hungry_.Next(*best); t != nullptr; t = hungry_.Next(*t)) {
    if (t->counts.open() < best->counts.open()) best = t;
  }
  return best;
}

void PoolState::DialForHungry() {
  while (PooledTarget* target = Neediest()) {
    if (target->counts.open() >= target->options.max_open) {
      if (!MakeRoomIn(*target)) UpdateDemand(*target);
    } else if (HasRoom() || MakeRoom()) {
      StartDial(*target);
    } else {
      return;
    }
  }
}

// A connection that comes back is not for the next request of its own target, nor for who would
// borrow it again at once: an older one wants a new one, or another target's turn has come.
bool PoolState::MustYield(PooledTarget& target) {
  const bool wants_dial = target.wants_dial();
  if (wants_dial && target.FirstWaiting()->asked.fresh_only &&
      target.counts.dialing < target.fresh_waiting)
    return true;
  if (HasRoom() || hungry_.empty() || !idle_.empty()) return false;
  const PooledTarget& other = *Neediest();
  if (&other == &target) return false;
  if (target.counts.waiting == 0) return other.counts.open() < other.options.max_open;
  // Those that wait here have dials under way, of which one will make room.
  if (!wants_dial) return false;
  if (target.counts.open() > other.counts.open() + 1) return true;
  return other.counts.open() == 0 && other.hungry_since < target.last_served;
}

bool PoolState::MakeRoom() {
  if (PooledConnection* closing = closing_.front()) {
    Forget(*closing);
  } else if (PooledConnection* idle = idle_.back()) {
    Cut(*idle, &Closed::evicted);
  } else if (surplus_ > 0) {
    PoolDial* dial = dials_.front();
    while (dial->target->surplus == 0) dial = dials_.Next(*dial);
    GiveUpDial(*dial);
  } else {
    return false;
  }
  return true;
}

bool PoolState::MakeRoomIn(PooledTarget& target) {
  if (PooledConnection* closing = target.closing.front()) {
    Forget(*closing);
  } else if (PooledConnection* idle = target.idle.back()) {
    Cut(*idle, &Closed::evicted);
  } else {
    return false;
  }
  return true;
}

// Dials.

void PoolState::StartDial(PooledTarget& target) {
  auto* const dial = new PoolDial;
  dial->target = &target;
  dial->order = NextOrder();
  dials_.PushBack(*dial);
  ++statistics_.dials;
  Count(target, &PoolCounts::dialing, +1);
  UpdateDemand(target);
  dial->attempt = target.dialer->Dial(loop_, target.endpoint, options_.dial,
                                      [this, dial](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                                        OnDialed(*dial, std::move(stream));
                                      });
  if (ABSL_PREDICT_FALSE(dial->state == PoolDial::kGivenUp)) {
    delete dial;
  } else {
    dial->state = PoolDial::kUnderWay;
  }
}

void PoolState::OnDialed(PoolDial& dial, absl::StatusOr<std::unique_ptr<Stream>> stream) {
  PooledTarget& target = *dial.target;
  const uint64_t order = dial.order;
  IntrusiveList<PoolDial, InPool>::Remove(dial);
  Count(target, &PoolCounts::dialing, -1);
  delete &dial;
  stream.ok() ? Adopt(target, *std::move(stream)) : OnDialFailed(target, order, stream.status());
  OnChange(target);
}

void PoolState::Adopt(PooledTarget& target, std::unique_ptr<Stream> stream) {
  auto& connection = *new PooledConnection(*this, target, std::move(stream));
  connections_.PushBack(connection);
  connection.idle_since = loop_.now();
  ++statistics_.opened;
  Count(target, &PoolCounts::ready, +1);
  if (options_.life_time != absl::InfiniteDuration()) {
    loop_.ArmTimer(connection,
                   options_.life_time * (1 - options_.life_time_jitter * random_.Fraction()));
  }
  target.failing = false;
  target.last_success = loop_.now();
  if (Stopped()) return Close(connection, &Closed::drained);
  if (PoolRequest* request = target.FirstWaiting()) {
    target.not_before = MonotonicTime();  // but for one of the reserve, which may end at once
    return Match(connection, *request, /*reused=*/false);
  }
  connection.stream->SetHandler(connection);
  PutIdle(connection);
}

// For those that came later, one more is begun.
void PoolState::OnDialFailed(PooledTarget& target, uint64_t order, const absl::Status& status) {
  ++statistics_.dial_failures;
  BackOff(target);
  PoolRequest* const request = target.FirstWaiting();
  if (request != nullptr && request->order < order) Fail(*request, &PoolStatistics::failed, status);
}

void PoolState::GiveUpDial(PoolDial& dial) {
  PooledTarget& target = *dial.target;
  IntrusiveList<PoolDial, InPool>::Remove(dial);
  Count(target, &PoolCounts::dialing, -1);
  ++statistics_.dials_given_up;
  if (ABSL_PREDICT_FALSE(dial.state == PoolDial::kBeginning)) {
    dial.state = PoolDial::kGivenUp;  // StartDial ends it
  } else {
    delete &dial;
  }
  OnChange(target);
}

// The reserve.

// While dials fail, one at a time.
void PoolState::FillReserve(PooledTarget& target) {
  if (target.MissingReserve() == 0) return;
  if (loop_.now() < target.not_before) return loop_.ArmTimer(target.retry, target.not_before);
  while (!Stopped() && target.MissingReserve() > 0 && HasRoom() && hungry_.empty() &&
         statistics_.now.idle + surplus_ < options_.max_idle &&
         !(target.failing && target.counts.dialing > 0))
    StartDial(target);
}

void PoolState::BackOff(PooledTarget& target) {
  const MonotonicTime now = loop_.now();
  const bool worked_long = !target.failing && now - target.last_success > options_.most_backoff;
  target.failing = true;
  if (now < target.not_before) return;  // one for each pause
  target.backoff = target.backoff == absl::ZeroDuration() || worked_long
                       ? options_.least_backoff
                       : std::min(2 * target.backoff, options_.most_backoff);
  target.not_before = now + target.backoff * (1 - random_.Fraction() / 4);
}

}  // namespace sluice::internal
