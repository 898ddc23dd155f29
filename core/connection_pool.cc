#include "sluice/core/connection_pool.h"

#include "absl/strings/str_cat.h"
#include "sluice/core/connection_pool_state.h"
#include "sluice/core/internal/check.h"

namespace sluice {
namespace {

absl::Status CheckTargetOptions(const ConnectionPool::TargetOptions& options) {
  if (options.max_open < 1)
    return absl::InvalidArgumentError("a target's max_open must be at least 1");
  if (options.max_waiting < 1)
    return absl::InvalidArgumentError("a target's max_waiting must be at least 1");
  if (options.min_idle > options.max_idle || options.min_idle > options.max_open) {
    return absl::InvalidArgumentError(
        absl::StrCat("a target's min_idle of ", options.min_idle, " must be at most its max_idle (",
                     options.max_idle, ") and its max_open (", options.max_open, ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckPositive(const char* name, absl::Duration duration) {
  if (duration > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the pool's ", name, " of ", absl::FormatDuration(duration), " must be longer than 0"));
}

absl::Status CheckOptions(const ConnectionPool::Options& options) {
  if (absl::Status status = CheckTargetOptions(options.target); !status.ok()) return status;
  if (options.max_open < 1)
    return absl::InvalidArgumentError("the pool's max_open must be at least 1");
  if (options.max_waiting < 1)
    return absl::InvalidArgumentError("the pool's max_waiting must be at least 1");
  if (!(options.life_time_jitter >= 0 && options.life_time_jitter < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the pool's life_time_jitter of ", options.life_time_jitter, " must be from 0 to below 1"));
  }
  absl::Status status = CheckPositive("idle_timeout", options.idle_timeout);
  status.Update(CheckPositive("life_time", options.life_time));
  status.Update(CheckPositive("check_timeout", options.check_timeout));
  status.Update(CheckPositive("least_backoff", options.least_backoff));
  if (status.ok() && options.most_backoff < options.least_backoff) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the pool's most_backoff of ", absl::FormatDuration(options.most_backoff),
        " must be at least its least_backoff, ", absl::FormatDuration(options.least_backoff)));
  }
  return status;
}

}  // namespace

// Target.

ConnectionPool::Target::Target(internal::PooledTarget& state) : state_(&state) {
  if (++state.handles == 1) state.pool->Attend(state);
}

ConnectionPool::Target::Target(const Target& other) : state_(other.state_) {
  if (state_ != nullptr) ++state_->handles;
}

ConnectionPool::Target::~Target() {
  if (state_ == nullptr || --state_->handles > 0) return;
  if (state_->pool != nullptr) {
    state_->pool->Attend(*state_);
  } else {
    delete state_;
  }
}

PoolCounts ConnectionPool::Target::counts() const { return state_->counts; }
const Endpoint& ConnectionPool::Target::endpoint() const { return state_->endpoint; }

// Lease.

Stream& ConnectionPool::Lease::stream() const { return *connection_->stream; }
bool ConnectionPool::Lease::reused() const { return connection_->reused; }

void ConnectionPool::Lease::Return() {
  // If this fails, it is none, was returned before, or its stream was taken.
  SLUICE_CHECK(connection_ != nullptr && connection_->stream != nullptr);
  internal::PooledConnection* const connection = std::exchange(connection_, nullptr);
  if (connection->pool == nullptr) {
    delete connection;
  } else {
    connection->pool->Return(*connection);
  }
}

std::unique_ptr<Stream> ConnectionPool::Lease::TakeStream() {
  connection_->stream->ClearHandler();
  return std::move(connection_->stream);
}

void ConnectionPool::Lease::Drop() {
  if (connection_->pool == nullptr) {
    delete connection_;
  } else {
    connection_->pool->Drop(*connection_);
  }
}

// Request.

ConnectionPool::Request::Request() = default;
ConnectionPool::Request::Request(Request&&) noexcept = default;
ConnectionPool::Request& ConnectionPool::Request::operator=(Request&&) noexcept = default;
ConnectionPool::Request::~Request() = default;
ConnectionPool::Request::Request(std::unique_ptr<internal::PoolRequest> state)
    : state_(std::move(state)) {}

// The pool.

absl::StatusOr<std::unique_ptr<ConnectionPool>> ConnectionPool::Create(EventLoop& loop,
                                                                       Options options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  return std::unique_ptr<ConnectionPool>(
      new ConnectionPool(std::make_unique<internal::PoolState>(loop, std::move(options))));
}

ConnectionPool::ConnectionPool(std::unique_ptr<internal::PoolState> state)
    : state_(std::move(state)) {}
ConnectionPool::~ConnectionPool() = default;

absl::StatusOr<ConnectionPool::Target> ConnectionPool::GetTarget(
    const Endpoint& endpoint, std::shared_ptr<const Dialer> dialer) {
  SLUICE_CHECK(dialer != nullptr);
  return Target(state_->GetTarget(endpoint, std::move(dialer), nullptr));
}

absl::StatusOr<ConnectionPool::Target> ConnectionPool::GetTarget(
    const Endpoint& endpoint, std::shared_ptr<const Dialer> dialer, const TargetOptions& options) {
  SLUICE_CHECK(dialer != nullptr);
  if (absl::Status status = CheckTargetOptions(options); !status.ok()) return status;
  return Target(state_->GetTarget(endpoint, std::move(dialer), &options));
}

ConnectionPool::Lease ConnectionPool::TryBorrow(const Target& target) {
  SLUICE_CHECK(target.state_ != nullptr && target.state_->pool == state_.get());
  return state_->TryBorrow(*target.state_);
}

ConnectionPool::Request ConnectionPool::Borrow(const Target& target, const BorrowOptions& options,
                                               BorrowFunction done) {
  SLUICE_CHECK(target.state_ != nullptr && target.state_->pool == state_.get());
  return Request(state_->Borrow(*target.state_, options, std::move(done)));
}

void ConnectionPool::Drain(absl::Duration timeout, absl::AnyInvocable<void()> done) {
  state_->Drain(timeout, std::move(done));
}

const PoolStatistics& ConnectionPool::statistics() const { return state_->statistics(); }
EventLoop& ConnectionPool::loop() const { return state_->loop(); }

}  // namespace sluice
