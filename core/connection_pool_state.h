// The inside of ConnectionPool: what it knows of targets, connections, requests and dials, and the
// rules by which they meet. connection_pool.h says what they do.
//
// A connection, a dial and a request belong to a target; targets to the pool. Users hold requests
// (PoolRequest) and lent connections (PooledConnection), which may outlive the pool and then have
// lost it.
//
// No user's function is called but from a timer of its own, after which nothing of the pool is
// touched; except Dialer::Dial, which may use the pool itself (a PooledDialer does). Room that has
// become free is given away by a timer, too (Work): so nothing here calls itself by way of others.
#ifndef SLUICE_CORE_CONNECTION_POOL_STATE_H_
#define SLUICE_CORE_CONNECTION_POOL_STATE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/intrusive_list.h"
#include "sluice/core/internal/split_mix.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/pool_statistics.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"

namespace sluice::internal {

// The lists.
struct InPool;    // all targets, dials and connections, in the order of their making; and requests
                  // that are to be told something
struct InTarget;  // a target's idle connections, closing ones, requests that wait
struct ByAge;     // the pool's idle connections, closing ones
struct Hungry;
struct Attended;

// An open connection. Its handler is itself, unless it is lent, being checked, or too fresh to have
// one.
struct PooledConnection final : StreamHandler,
                                TimerNode,
                                ListLink<InPool>,
                                ListLink<InTarget>,
                                ListLink<ByAge> {
  enum State : uint8_t { kIdle, kChecking, kReady, kLent, kClosing };

  PooledConnection(PoolState& owner, PooledTarget& of, std::unique_ptr<Stream> opened);
  ~PooledConnection() override;

  // Whether it can serve another request, for all that can be seen.
  bool Reusable() const {
    return !stream->closing() && stream->queued_bytes() == 0 && !stream->receiving_paused();
  }

  // Of the stream, while this is its handler:
  void OnReceive(Stream& receiver, absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd(Stream& receiver) override;
  void OnDrain(Stream& receiver) override;
  void OnClose(Stream& receiver, const absl::Status& status) override;

  PoolState* pool;  // null: it is gone
  PooledTarget* target;
  std::unique_ptr<Stream> stream;  // null: was taken
  State state = kReady;
  bool reused = false;  // of the lease
  bool used = false;    // was lent before
  bool life_is_over = false;
  MonotonicTime idle_since;        // nothing was to be heard on it since then
  PoolRequest* request = nullptr;  // for which it is kReady
  std::unique_ptr<class PoolCheck> check;
};

// A check of a connection: begun, timed out and concluded by its timer.
class PoolCheck : private TimerNode {
 public:
  explicit PoolCheck(PooledConnection& connection);
  // Concludes it, by its timer: it may be asked that in the check's own calls.
  void Abandon() { Answer(false); }

 private:
  void OnTimer();
  void Begin();
  void Answer(bool healthy);

  PooledConnection& connection_;
  enum : uint8_t { kNew, kAsked, kAnswered } state_ = kNew;
  bool healthy_ = false;
  std::unique_ptr<StreamHandler> handler_;
};

// A connection in the making.
struct PoolDial : ListLink<InPool> {
  PooledTarget* target;
  enum : uint8_t { kBeginning, kUnderWay, kGivenUp } state = kBeginning;
  uint64_t order;  // its failure is for requests that are older: they have had this try
  std::unique_ptr<Dialer::Attempt> attempt;
};

// A request for a lease. Its timer is its deadline first, and then what calls the user.
class PoolRequest : public ListLink<InTarget>, public ListLink<InPool>, private TimerNode {
 public:
  PoolRequest(PooledTarget& of, uint64_t number, const ConnectionPool::BorrowOptions& options,
              MonotonicTime until, ConnectionPool::BorrowFunction function);
  ~PoolRequest();

  void AwaitDeadline();
  // It will be told that by the loop.
  void Get(PooledConnection& found);
  void Fail(absl::Status status);
  void LosePool();

  PooledTarget* const target;
  const uint64_t order;
  const ConnectionPool::BorrowOptions asked;
  PooledConnection* connection = nullptr;

 private:
  void OnTimer();

  const MonotonicTime deadline_;
  enum : uint8_t { kWaiting, kReady, kFailed, kOver } state_ = kWaiting;
  absl::Status status_;
  ConnectionPool::BorrowFunction done_;
};

// An endpoint and a dialer, and what there is of it.
struct PooledTarget : ListLink<InPool>, ListLink<Hungry>, ListLink<Attended> {
  PooledTarget(PoolState& owner, const Endpoint& to, std::shared_ptr<const Dialer> by);

  size_t any_waiting() const { return counts.waiting - fresh_waiting; }
  // Requests for which neither a dial nor a check is under way make it hungry. A check may find a
  // connection for one that takes any.
  size_t NeededDials() const {
    return fresh_waiting + (any_waiting() > counts.checking ? any_waiting() - counts.checking : 0);
  }
  bool wants_dial() const { return NeededDials() > counts.dialing; }
  size_t SurplusDials() const {
    return counts.dialing > NeededDials() ? counts.dialing - NeededDials() : 0;
  }
  size_t MissingReserve() const;
  bool unused() const { return handles == 0 && requests == 0 && counts.open() == 0; }
  PoolRequest* FirstWaiting();

  PoolState* pool;  // null: it is gone
  const Endpoint endpoint;
  const std::shared_ptr<const Dialer> dialer;
  ConnectionPool::TargetOptions options;
  size_t handles = 0;
  size_t requests = 0;  // that have not told their user yet
  PoolCounts counts;

  IntrusiveList<PooledConnection, InTarget> idle;  // by idle_since, the last first
  IntrusiveList<PooledConnection, InTarget> closing;
  IntrusiveList<PoolRequest, InTarget> any;    // waiting for any connection, the oldest first
  IntrusiveList<PoolRequest, InTarget> fresh;  // waiting for a new one
  size_t fresh_waiting = 0;

  // Turns, by PoolState::NextOrder.
  uint64_t hungry_since = 0;
  uint64_t last_served = 0;
  size_t surplus = 0;  // SurplusDials, as far as the pool knows

  // Of the reserve's dials.
  Timer retry;
  bool failing = false;
  absl::Duration backoff = absl::ZeroDuration();
  MonotonicTime last_success;
  MonotonicTime not_before;
};

class PoolState {
 public:
  using Closed = PoolStatistics::Closed;
  using Lease = ConnectionPool::Lease;

  PoolState(EventLoop& loop, ConnectionPool::Options options);
  ~PoolState();

  EventLoop& loop() const { return loop_; }
  const PoolStatistics& statistics() const { return statistics_; }
  ConnectionPool::Options& options() { return options_; }
  bool Stopped() const { return draining_ || loop_.draining(); }

  PooledTarget& GetTarget(const Endpoint& endpoint, std::shared_ptr<const Dialer> dialer,
                          const ConnectionPool::TargetOptions* options);
  // A target has lost its last handle, gained its first, or has other options.
  void Attend(PooledTarget& target);

  Lease TryBorrow(PooledTarget& target);
  std::unique_ptr<PoolRequest> Borrow(PooledTarget& target,
                                      const ConnectionPool::BorrowOptions& options,
                                      ConnectionPool::BorrowFunction done);
  void Return(PooledConnection& connection);
  void Drop(PooledConnection& connection);
  void Drain(absl::Duration timeout, absl::AnyInvocable<void()> done);

  // From requests.
  void GiveUp(PoolRequest& request);
  absl::Status TimeOut(PoolRequest& request);
  Lease Deliver(PoolRequest& request);
  void Release(PoolRequest& request);

  // From connections and their checks. Both may destroy the connection: Close after a farewell that
  // it lives to see, Cut at once.
  void Close(PooledConnection& connection, uint64_t Closed::*reason);
  void Cut(PooledConnection& connection, uint64_t Closed::*reason);
  void PassedCheck(PooledConnection& connection);
  // A connection that nobody uses is no good: whoever was to have it gets another one.
  void Lose(PooledConnection& connection, uint64_t Closed::*reason, bool at_once);
  // It was asked, and kept silent.
  void LoseSilent(PooledConnection& connection);
  void Forget(PooledConnection& connection);

 private:
  using Key = std::tuple<std::string, uint16_t, const Dialer*>;

  uint64_t NextOrder() { return ++order_; }
  void Count(PooledTarget& target, size_t PoolCounts::*what, int by) {
    target.counts.*what += by;
    statistics_.now.*what += by;
  }

  // Connections and their states.
  void Move(PooledConnection& connection, PooledConnection::State state);
  void Unlink(PooledConnection& connection);
  void PutIdle(PooledConnection& connection);
  void TrimIdle(PooledTarget& target);
  void ArmIdleTimer();
  void OnIdleTimer();
  void Recycle(PooledConnection& connection);
  bool MustYield(PooledTarget& target);
  bool Stale(const PooledConnection& connection) const;
  PooledConnection* FirstIdle(PooledTarget& target);
  Lease Lend(PooledConnection& connection, bool reused);

  // Requests.
  void Enqueue(PoolRequest& request);
  void Dequeue(PoolRequest& request);
  void Requeue(PooledConnection& connection);
  void Match(PooledConnection& connection, PoolRequest& request, bool reused);
  void Fail(PoolRequest& request, uint64_t PoolStatistics::*as, absl::Status status);
  bool HasPlace(const PooledTarget& target) const;
  bool NeedsNotWait(PooledTarget& target, const ConnectionPool::BorrowOptions& options);
  absl::Status TooManyWait(const PooledTarget& target) const;
  absl::Status WhyStopped() const;
  void CancelWaiting();

  // Supply.
  bool HasRoom() const { return statistics_.now.open() < options_.max_open; }
  bool MakeRoom();
  bool MakeRoomIn(PooledTarget& target);
  void Supply(PooledTarget& target);
  void UpdateDemand(PooledTarget& target);
  PooledTarget* Neediest();
  void DialForHungry();
  void StartDial(PooledTarget& target);
  void OnDialed(PoolDial& dial, absl::StatusOr<std::unique_ptr<Stream>> stream);
  void OnDialFailed(PooledTarget& target, uint64_t order, const absl::Status& status);
  void Adopt(PooledTarget& target, std::unique_ptr<Stream> stream);
  void GiveUpDial(PoolDial& dial);
  void FillReserve(PooledTarget& target);
  void BackOff(PooledTarget& target);

  // What follows from a change.
  void OnChange(PooledTarget& target);
  void CancelReady(PoolRequest& request);
  void WorkSoon();
  void Work();
  void AttendToTargets();
  void CheckDrained();
  void OnDrained();

  EventLoop& loop_;
  ConnectionPool::Options options_;
  PoolStatistics statistics_;
  uint64_t order_ = 0;
  SplitMix64 random_;

  std::map<Key, PooledTarget*> by_key_;
  IntrusiveList<PooledTarget, InPool> targets_;
  IntrusiveList<PooledTarget, Hungry> hungry_;      // want a dial, and may have more connections
  IntrusiveList<PooledTarget, Attended> attended_;  // to be looked at: their reserve, or their end
  IntrusiveList<PooledConnection, InPool> connections_;
  IntrusiveList<PooledConnection, ByAge> idle_;  // by idle_since, the last first
  IntrusiveList<PooledConnection, ByAge> closing_;
  IntrusiveList<PoolDial, InPool> dials_;
  IntrusiveList<PoolRequest, InPool> settled_;  // those that the loop is going to tell
  size_t surplus_ = 0;                          // dials that nobody waits for

  Timer work_;
  Timer idle_timer_;

  bool draining_ = false;
  bool drain_pending_ = false;
  Timer drain_timer_;
  absl::AnyInvocable<void()> drained_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_CONNECTION_POOL_STATE_H_
