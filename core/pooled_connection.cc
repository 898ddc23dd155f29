// What happens to connections that nobody uses, checks of them, and requests that wait.
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/core/connection_pool_state.h"

namespace sluice::internal {

using Closed = PoolStatistics::Closed;

PooledConnection::PooledConnection(PoolState& owner, PooledTarget& of,
                                   std::unique_ptr<Stream> opened)
    : TimerNode([](TimerNode& node) {
        auto& self = static_cast<PooledConnection&>(node);
        self.life_is_over = true;
        if (self.pool != nullptr && self.state == kIdle)
          self.pool->Close(self, &Closed::life_time);  // may destroy it
      }),
      pool(&owner),
      target(&of),
      stream(std::move(opened)) {}

PooledConnection::~PooledConnection() = default;

// What comes for a lent one is lost: its user has not said yet where it should go.
void PooledConnection::OnReceive(Stream& receiver, absl::Span<uint8_t> /*bytes*/) {
  if (state != kLent) return pool->Lose(*this, &Closed::unexpected_bytes, /*at_once=*/true);
  receiver.Abort(absl::FailedPreconditionError(
      "bytes came for a lease of a ConnectionPool before it had a handler"));
}

void PooledConnection::OnReceiveEnd(Stream& receiver) {
  if (state != kLent) return pool->Lose(*this, &Closed::ended, /*at_once=*/false);
  receiver.Abort(
      absl::UnavailableError("the peer ended a lease of a ConnectionPool before it had a handler"));
}

void PooledConnection::OnDrain(Stream& receiver) {
  if (state == kClosing) return;
  if (state == kLent) return receiver.Close();
  pool->Lose(*this, &Closed::drained, /*at_once=*/false);
}

void PooledConnection::OnClose(Stream& /*receiver*/, const absl::Status& /*status*/) {
  if (state == kLent) return;
  if (state == kClosing) return pool->Forget(*this);
  pool->Lose(*this, &Closed::ended, /*at_once=*/true);
}

// Checks.

PoolCheck::PoolCheck(PooledConnection& connection)
    : TimerNode([](TimerNode& node) { static_cast<PoolCheck&>(node).OnTimer(); }),
      connection_(connection) {
  connection_.pool->loop().ArmTimer(*this, MonotonicTime());
}

// Each but the first may destroy this.
void PoolCheck::OnTimer() {
  if (state_ == kNew) return Begin();
  if (state_ == kAnswered && healthy_ && connection_.Reusable())
    return connection_.pool->PassedCheck(connection_);
  if (state_ == kAsked) return connection_.pool->LoseSilent(connection_);
  PoolState& pool = *connection_.pool;
  pool.Lose(connection_, pool.Stopped() ? &Closed::drained : &Closed::failed_check,
            /*at_once=*/true);
}

void PoolCheck::Begin() {
  state_ = kAsked;
  ConnectionPool::Options& options = connection_.pool->options();
  handler_ = options.check(*connection_.stream, [this](bool healthy) { Answer(healthy); });
  if (state_ == kAnswered) return;  // or the pool drains
  if (handler_ == nullptr) return Answer(false);
  connection_.stream->SetHandler(*handler_);
  connection_.pool->loop().ArmTimer(*this, options.check_timeout);
}

void PoolCheck::Answer(bool healthy) {
  if (state_ == kAnswered) return;
  state_ = kAnswered;
  healthy_ = healthy;
  connection_.pool->loop().ArmTimer(*this, MonotonicTime());
}

// Requests.

PoolRequest::PoolRequest(PooledTarget& of, uint64_t number,
                         const ConnectionPool::BorrowOptions& options, MonotonicTime until,
                         ConnectionPool::BorrowFunction function)
    : TimerNode([](TimerNode& node) { static_cast<PoolRequest&>(node).OnTimer(); }),
      target(&of),
      order(number),
      asked(options),
      deadline_(until),
      done_(std::move(function)) {}

PoolRequest::~PoolRequest() {
  if (state_ != kOver) target->pool->GiveUp(*this);
}

void PoolRequest::AwaitDeadline() {
  connection = nullptr;
  state_ = kWaiting;
  target->pool->loop().ArmTimer(*this, deadline_);
}

void PoolRequest::Get(PooledConnection& found) {
  connection = &found;
  state_ = kReady;
  target->pool->loop().ArmTimer(*this, MonotonicTime());
}

void PoolRequest::Fail(absl::Status status) {
  connection = nullptr;
  status_ = std::move(status);
  state_ = kFailed;
  target->pool->loop().ArmTimer(*this, MonotonicTime());
}

void PoolRequest::LosePool() {
  IntrusiveList<PoolRequest, InTarget>::Remove(*this);
  IntrusiveList<PoolRequest, InPool>::Remove(*this);
  TimerNode::Cancel();
  state_ = kOver;
}

void PoolRequest::OnTimer() {
  PoolState& pool = *target->pool;
  // A connection that has ended will be told so later in this turn.
  if (state_ == kReady && connection->reused && connection->stream->closing())
    return pool.Lose(*connection, &Closed::ended, /*at_once=*/true);
  if (state_ == kWaiting) status_ = pool.TimeOut(*this);
  absl::StatusOr<ConnectionPool::Lease> result(ConnectionPool::Lease{});
  if (state_ == kReady) {
    result = pool.Deliver(*this);
  } else {
    result = std::move(status_);
  }
  pool.Release(*this);
  state_ = kOver;
  ConnectionPool::BorrowFunction done = std::move(done_);
  done(std::move(result));  // may destroy this, and the pool
}

}  // namespace sluice::internal
