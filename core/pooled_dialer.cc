#include "sluice/core/pooled_dialer.h"

#include "absl/status/statusor.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/stream.h"

namespace sluice {
namespace {

class PooledAttempt final : public Dialer::Attempt {
 public:
  PooledAttempt(ConnectionPool& pool, ConnectionPool::Target target, const DialOptions& options,
                Dialer::DialFunction done)
      : options_(options.stream), done_(std::move(done)) {
    request_ = pool.Borrow(
        target, {.timeout = options.timeout},
        [this](absl::StatusOr<ConnectionPool::Lease> lease) { OnLease(std::move(lease)); });
  }

 private:
  void OnLease(absl::StatusOr<ConnectionPool::Lease> lease) {
    Dialer::DialFunction done = std::move(done_);
    if (!lease.ok()) return done(lease.status());
    lease_ = *std::move(lease);
    std::unique_ptr<Stream> stream = lease_.TakeStream();
    stream->SetLimits(options_.limits);
    stream->SetIdleTimeout(options_.idle_timeout);
    stream->SetLingerTimeout(options_.linger_timeout);
    done(std::move(stream));  // may destroy this
  }

  const StreamOptions options_;
  Dialer::DialFunction done_;
  ConnectionPool::Request request_;
  ConnectionPool::Lease lease_;
};

}  // namespace

std::unique_ptr<Dialer::Attempt> PooledDialer::Dial(EventLoop& loop, const Endpoint& endpoint,
                                                    const DialOptions& options,
                                                    DialFunction done) const {
  SLUICE_CHECK(&loop == &pool_.loop());
  return std::make_unique<PooledAttempt>(pool_, *pool_.GetTarget(endpoint, lower_), options,
                                         std::move(done));
}

}  // namespace sluice
