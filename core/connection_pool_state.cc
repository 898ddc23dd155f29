// Connections come and go: lending, returning, closing, draining.
#include "sluice/core/connection_pool_state.h"

#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/check.h"

namespace sluice::internal {
namespace {

// By PooledConnection::State.
constexpr size_t PoolCounts::*kCounted[] = {&PoolCounts::idle, &PoolCounts::checking,
                                            &PoolCounts::ready, &PoolCounts::lent,
                                            &PoolCounts::closing};

// Before those that have been idle for longer: at the front, but for one that was lent to nobody.
template <typename Tag>
void InsertByAge(IntrusiveList<PooledConnection, Tag>& list, PooledConnection& connection) {
  PooledConnection* next = list.front();
  while (ABSL_PREDICT_FALSE(next != nullptr && next->idle_since > connection.idle_since))
    next = list.Next(*next);
  next != nullptr ? list.InsertBefore(*next, connection) : list.PushBack(connection);
}

}  // namespace

PoolState::PoolState(EventLoop& loop, ConnectionPool::Options options)
    : loop_(loop),
      options_(std::move(options)),
      random_(options_.seed != 0 ? options_.seed
                                 : static_cast<uint64_t>(loop.NowExact().nanoseconds())),
      work_([this] { Work(); }),
      idle_timer_([this] { OnIdleTimer(); }),
      drain_timer_([this] { OnDrained(); }) {}

PoolState::~PoolState() {
  while (PoolRequest* request = settled_.front()) request->LosePool();
  while (PoolDial* dial = dials_.front()) {
    IntrusiveList<PoolDial, InPool>::Remove(*dial);
    delete dial;
  }
  while (PooledConnection* connection = connections_.front()) {
    Unlink(*connection);
    IntrusiveList<PooledConnection, InPool>::Remove(*connection);
    connection->pool = nullptr;
    if (connection->state != PooledConnection::kLent) delete connection;
  }
  while (PooledTarget* target = targets_.front()) {
    while (PoolRequest* request = target->FirstWaiting()) request->LosePool();
    IntrusiveList<PooledTarget, InPool>::Remove(*target);
    IntrusiveList<PooledTarget, Hungry>::Remove(*target);
    IntrusiveList<PooledTarget, Attended>::Remove(*target);
    target->pool = nullptr;
    target->retry.Cancel();
    if (target->handles == 0) delete target;
  }
}

// Lending.

ConnectionPool::Lease PoolState::TryBorrow(PooledTarget& target) {
  SLUICE_DCHECK(loop_.InLoopThread());
  PooledConnection* const connection = FirstIdle(target);
  if (connection == nullptr || Stale(*connection)) {
    ++statistics_.misses;
    return {};
  }
  ++statistics_.borrows;
  Unlink(*connection);
  Lease lease = Lend(*connection, /*reused=*/true);
  if (ABSL_PREDICT_FALSE(target.counts.idle < target.options.min_idle)) Attend(target);
  if (ABSL_PREDICT_FALSE(!attended_.empty())) WorkSoon();
  return lease;
}

ConnectionPool::Lease PoolState::Lend(PooledConnection& connection, bool reused) {
  Move(connection, PooledConnection::kLent);
  connection.reused = reused;
  connection.used = true;
  ++(reused ? statistics_.reused : statistics_.fresh);
  return Lease(connection);
}

// Some may have ended, and be about to be told so.
PooledConnection* PoolState::FirstIdle(PooledTarget& target) {
  PooledConnection* connection = target.idle.front();
  while (ABSL_PREDICT_FALSE(connection != nullptr && connection->stream->closing())) {
    Cut(*connection, &Closed::ended);
    connection = target.idle.front();
  }
  return connection;
}

bool PoolState::Stale(const PooledConnection& connection) const {
  return options_.check != nullptr && loop_.now() - connection.idle_since >= options_.check_after;
}

void PoolState::Return(PooledConnection& connection) {
  SLUICE_DCHECK(loop_.InLoopThread());
  ++statistics_.returned;
  if (ABSL_PREDICT_FALSE(!connection.Reusable())) return Cut(connection, &Closed::unclean);
  connection.stream->ReceiveInto({});
  connection.stream->SetHandler(connection);
  connection.idle_since = loop_.now();
  Recycle(connection);
}

void PoolState::Drop(PooledConnection& connection) {
  SLUICE_DCHECK(loop_.InLoopThread());
  Cut(connection, connection.stream != nullptr ? &Closed::dropped : &Closed::taken);
}

// To who waits for it, or to the idle ones. It is its own handler.
void PoolState::Recycle(PooledConnection& connection) {
  PooledTarget& target = *connection.target;
  if (ABSL_PREDICT_FALSE(Stopped())) return Close(connection, &Closed::drained);
  if (ABSL_PREDICT_FALSE(connection.life_is_over)) return Close(connection, &Closed::life_time);
  if (ABSL_PREDICT_TRUE(target.counts.waiting == 0 && hungry_.empty())) return PutIdle(connection);
  if (MustYield(target)) return Cut(connection, &Closed::evicted);
  PoolRequest* const request = target.any.front();
  request != nullptr ? Match(connection, *request, /*reused=*/true) : PutIdle(connection);
}

void PoolState::PutIdle(PooledConnection& connection) {
  PooledTarget& target = *connection.target;
  Move(connection, PooledConnection::kIdle);
  InsertByAge(target.idle, connection);
  InsertByAge(idle_, connection);
  if (!idle_timer_.armed()) ArmIdleTimer();
  if (ABSL_PREDICT_FALSE(target.counts.waiting != 0)) UpdateDemand(target);
  if (ABSL_PREDICT_FALSE(!hungry_.empty())) WorkSoon();
  if (ABSL_PREDICT_FALSE(target.counts.idle > target.options.max_idle ||
                         statistics_.now.idle > options_.max_idle))
    TrimIdle(target);
}

void PoolState::TrimIdle(PooledTarget& target) {
  while (target.counts.idle > target.options.max_idle) Close(*target.idle.back(), &Closed::surplus);
  while (statistics_.now.idle > options_.max_idle) Close(*idle_.back(), &Closed::surplus);
}

void PoolState::ArmIdleTimer() {
  if (const PooledConnection* oldest = idle_.back())
    loop_.ArmTimer(idle_timer_, oldest->idle_since + options_.idle_timeout);
}

// It is not moved whenever a connection is lent; it may find that nothing has come of age.
void PoolState::OnIdleTimer() {
  const MonotonicTime since = loop_.now() - options_.idle_timeout;
  while (idle_.back() != nullptr && idle_.back()->idle_since <= since)
    Close(*idle_.back(), &Closed::idle_timeout);
  ArmIdleTimer();
}

// States.

void PoolState::Move(PooledConnection& connection, PooledConnection::State state) {
  Count(*connection.target, kCounted[connection.state], -1);
  Count(*connection.target, kCounted[state], +1);
  connection.state = state;
}

void PoolState::Unlink(PooledConnection& connection) {
  IntrusiveList<PooledConnection, InTarget>::Remove(connection);
  IntrusiveList<PooledConnection, ByAge>::Remove(connection);
}

void PoolState::Close(PooledConnection& connection, uint64_t Closed::*reason) {
  PooledTarget& target = *connection.target;
  ++(statistics_.closed.*reason);
  Unlink(connection);
  Move(connection, PooledConnection::kClosing);
  target.closing.PushBack(connection);
  closing_.PushBack(connection);
  connection.TimerNode::Cancel();
  connection.stream->SetHandler(connection);
  connection.check.reset();
  connection.stream->Close();
  OnChange(target);
}

void PoolState::Cut(PooledConnection& connection, uint64_t Closed::*reason) {
  ++(statistics_.closed.*reason);
  Forget(connection);
}

void PoolState::Forget(PooledConnection& connection) {
  PooledTarget& target = *connection.target;
  Unlink(connection);
  IntrusiveList<PooledConnection, InPool>::Remove(connection);
  Count(target, kCounted[connection.state], -1);
  delete &connection;
  OnChange(target);
}

void PoolState::Lose(PooledConnection& connection, uint64_t Closed::*reason, bool at_once) {
  PooledTarget& target = *connection.target;
  if (connection.request != nullptr) Requeue(connection);
  // Who accepts connections only to end them is as good as not there.
  if (!connection.used) BackOff(target);
  at_once ? Cut(connection, reason) : Close(connection, reason);
  Supply(target);
}

// What silently dropped it (a NAT, say) has dropped those that have been idle for longer, too. They
// are not asked one after the other, each for a whole check_timeout.
void PoolState::LoseSilent(PooledConnection& connection) {
  IntrusiveList<PooledConnection, InTarget>& idle = connection.target->idle;
  while (idle.back() != nullptr && idle.back()->idle_since <= connection.idle_since)
    Cut(*idle.back(), &Closed::failed_check);
  Lose(connection, &Closed::failed_check, /*at_once=*/true);
}

void PoolState::PassedCheck(PooledConnection& connection) {
  PooledTarget& target = *connection.target;
  ++statistics_.checks_passed;
  connection.stream->SetHandler(connection);
  connection.check.reset();
  connection.idle_since = loop_.now();
  Recycle(connection);
  Supply(target);
}

// Draining.

void PoolState::Drain(absl::Duration timeout, absl::AnyInvocable<void()> done) {
  SLUICE_DCHECK(loop_.InLoopThread());
  drained_ = std::move(done);
  drain_pending_ = true;
  loop_.ArmTimer(drain_timer_, timeout);
  draining_ = true;
  CancelWaiting();
  while (PoolDial* dial = dials_.front()) GiveUpDial(*dial);
  while (PooledConnection* connection = idle_.back()) Close(*connection, &Closed::drained);
  for (PooledConnection* c = connections_.front(); c != nullptr; c = connections_.Next(*c)) {
    if (c->state == PooledConnection::kChecking) c->check->Abandon();
  }
  CheckDrained();
}

void PoolState::CheckDrained() {
  if (drain_pending_ && statistics_.now.open() == 0) loop_.ArmTimer(drain_timer_, MonotonicTime());
}

// Nothing is left, or the time is up.
void PoolState::OnDrained() {
  while (PooledConnection* connection = closing_.front()) Forget(*connection);
  PooledConnection* next = connections_.front();
  while (PooledConnection* c = next) {
    next = connections_.Next(*c);
    if (c->state == PooledConnection::kChecking) {
      Cut(*c, &Closed::drained);
    } else if (c->stream != nullptr) {
      c->stream->Abort(absl::DeadlineExceededError(
          absl::StrCat(c->target->endpoint.ToString(), ": not returned before the pool's drain")));
    }
  }
  drain_pending_ = false;
  drain_timer_.Cancel();
  absl::AnyInvocable<void()> done = std::move(drained_);
  if (done) done();  // may destroy this
}

void PoolState::CancelWaiting() {
  for (PoolRequest* r = settled_.front(); r != nullptr; r = settled_.Next(*r)) {
    if (r->connection != nullptr) CancelReady(*r);
  }
  for (PooledTarget* t = targets_.front(); t != nullptr; t = targets_.Next(*t)) {
    while (PoolRequest* request = t->FirstWaiting()) {
      Fail(
          *request, &PoolStatistics::cancelled,
          absl::CancelledError(absl::StrCat(t->endpoint.ToString(), ": ", WhyStopped().message())));
    }
    UpdateDemand(*t);
  }
}

void PoolState::CancelReady(PoolRequest& request) {
  PooledConnection& connection = *request.connection;
  connection.request = nullptr;
  ++statistics_.cancelled;
  request.Fail(absl::CancelledError(
      absl::StrCat(request.target->endpoint.ToString(), ": ", WhyStopped().message())));
  connection.Reusable() ? Close(connection, &Closed::drained) : Cut(connection, &Closed::ended);
}

absl::Status PoolState::WhyStopped() const {
  return draining_ ? absl::FailedPreconditionError("the connection pool is draining")
                   : absl::CancelledError("the event loop is draining");
}

// What follows from a change.

void PoolState::OnChange(PooledTarget& target) {
  UpdateDemand(target);
  if (target.MissingReserve() > 0 || target.unused()) Attend(target);
  if (!hungry_.empty() || !attended_.empty() || Stopped()) WorkSoon();
}

void PoolState::Attend(PooledTarget& target) {
  if (!IntrusiveList<PooledTarget, Attended>::Linked(target)) attended_.PushBack(target);
  WorkSoon();
}

void PoolState::WorkSoon() {
  if (!work_.armed()) loop_.ArmTimer(work_, MonotonicTime());
}

void PoolState::Work() {
  Stopped() ? CancelWaiting() : DialForHungry();
  AttendToTargets();
  CheckDrained();
}

// Those whose reserve finds no room now stay on the list, so that any change brings them back here.
void PoolState::AttendToTargets() {
  PooledTarget* next = attended_.front();
  while (PooledTarget* target = next) {
    next = attended_.Next(*target);
    if (!Stopped()) FillReserve(*target);
    const bool waits_for_room =
        !Stopped() && target->MissingReserve() > 0 && loop_.now() >= target->not_before;
    if (waits_for_room) continue;
    IntrusiveList<PooledTarget, Attended>::Remove(*target);
    if (!target->unused()) continue;
    by_key_.erase(Key(target->endpoint.host, target->endpoint.port, target->dialer.get()));
    IntrusiveList<PooledTarget, InPool>::Remove(*target);
    IntrusiveList<PooledTarget, Hungry>::Remove(*target);
    delete target;
  }
}

}  // namespace sluice::internal
