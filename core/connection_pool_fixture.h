// A pool in the simulator, a server that it connects to, and four users.
#ifndef SLUICE_CORE_CONNECTION_POOL_FIXTURE_H_
#define SLUICE_CORE_CONNECTION_POOL_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/connection_pool_testing.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/simulation.h"

namespace sluice::test {

class ConnectionPoolTest : public testing::Test {
 protected:
  // With the pool's options; the limits are for the default target.
  void Create(ConnectionPool::Options options = {}) {
    pool_ = *ConnectionPool::Create(client_.loop(), std::move(options));
    target_ = TargetOf(backend_);
  }
  void CreateFor(const ConnectionPool::TargetOptions& target) {
    ConnectionPool::Options options;
    options.target = target;
    Create(std::move(options));
  }
  std::shared_ptr<const Dialer> DialerTo(const PoolBackend& backend) {
    return std::make_shared<FixedDialer>(backend.address());
  }
  ConnectionPool::Target TargetOf(const PoolBackend& backend) {
    return *pool_->GetTarget({"backend", backend.address().port()}, DialerTo(backend));
  }
  std::unique_ptr<PoolBackend> NewBackend(uint16_t port) {
    return std::make_unique<PoolBackend>(server_.loop(), server_.Address(port));
  }

  bool Until(absl::FunctionRef<bool()> done) {
    return network_.RunUntil(
        [&] {
          if (pool_ != nullptr) {
            EXPECT_EQ(test::Mistake(pool_->statistics()), "");
          }
          return done();
        },
        absl::Minutes(5));
  }
  // On the loop, whose time it is then.
  void InLoop(absl::FunctionRef<void()> function) {
    bool done = false;
    client_.loop().Post([&] {
      function();
      done = true;
    });
    ASSERT_TRUE(Until([&] { return done; }));
  }
  void Settle(absl::Duration time = absl::Milliseconds(10)) {
    network_.RunFor(time);
    Until([] { return true; });
  }
  // Borrows and waits for the lease.
  void Get(PoolUser& user, const ConnectionPool::BorrowOptions& options = {}) {
    user.Borrow(*pool_, target_, options);
    ASSERT_TRUE(Until([&] { return user.status.has_value(); }));
    ASSERT_EQ(*user.status, absl::OkStatus());
  }
  // Leaves so many connections idle.
  void Warm(size_t count) {
    std::vector<PoolUser> users(count);
    for (PoolUser& user : users) Get(user);
    for (PoolUser& user : users) user.lease.Return();
    ASSERT_EQ(now().idle, count);
  }

  const PoolStatistics& stats() const { return pool_->statistics(); }
  const PoolCounts& now() const { return pool_->statistics().now; }

  PoolUser a_, b_, c_, d_;  // hear of the loops' end
  SimulatedNetwork network_{1};
  SimulatedHost& server_ = network_.AddHost("server");
  SimulatedHost& client_ = network_.AddHost("client");
  std::unique_ptr<PoolBackend> owned_backend_ = NewBackend(9);
  PoolBackend& backend_ = *owned_backend_;
  std::unique_ptr<ConnectionPool> pool_;
  ConnectionPool::Target target_;
};

}  // namespace sluice::test

#endif  // SLUICE_CORE_CONNECTION_POOL_FIXTURE_H_
