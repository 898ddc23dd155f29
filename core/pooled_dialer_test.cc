#include "sluice/core/pooled_dialer.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/connection_pool_testing.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"

namespace sluice {
namespace {

// What becomes of one call of Dial.
struct Dialed {
  void Dial(const Dialer& dialer, EventLoop& loop, const DialOptions& options = {}) {
    attempt = dialer.Dial(loop, {.host = "127.0.0.1", .port = 443}, options,
                          [this](absl::StatusOr<std::unique_ptr<Stream>> result) {
                            ++calls;
                            status = result.status();
                            if (result.ok()) stream = *std::move(result);
                          });
    EXPECT_EQ(calls, 0);
  }

  std::unique_ptr<Dialer::Attempt> attempt;
  std::unique_ptr<Stream> stream;
  absl::Status status;
  int calls = 0;
};

class PooledDialerTest : public testing::Test {
 protected:
  bool Until(absl::FunctionRef<bool()> done) { return network_.RunUntil(done, absl::Minutes(1)); }

  test::PoolUser user_;  // hears of the loops' end
  SimulatedNetwork network_{1};
  SimulatedHost& server_ = network_.AddHost("server");
  SimulatedHost& client_ = network_.AddHost("client");
  test::PoolBackend backend_{server_.loop(), server_.Address(9)};
  std::shared_ptr<const Dialer> direct_ = std::make_shared<FixedDialer>(backend_.address());
  std::unique_ptr<ConnectionPool> pool_ =
      *ConnectionPool::Create(client_.loop(), {.target = {.max_open = 2}});
  const PooledDialer dialer_{*pool_, direct_};
};

TEST_F(PooledDialerTest, HandsOutWhatIsHeldInReserve) {
  auto reserve = *pool_->GetTarget({.host = "127.0.0.1", .port = 443}, direct_, {.min_idle = 2});
  ASSERT_TRUE(Until([&] { return reserve.counts().idle == 2; }));
  Dialed dialed;
  dialed.Dial(dialer_, client_.loop());
  const MonotonicTime start = network_.now();
  ASSERT_TRUE(Until([&] { return dialed.stream != nullptr; }));
  EXPECT_LT(network_.now() - start, SimulatedLink().latency);  // no round trip
  EXPECT_EQ(reserve.counts().lent, 1u);
  dialed.stream->SetHandler(user_);
  dialed.stream->Send("hello");
  EXPECT_TRUE(Until([&] { return user_.received == "hello" && reserve.counts().idle == 2; }));
}

TEST_F(PooledDialerTest, AConnectionCountsUntilItsAttemptIsDestroyed) {
  Dialed first, second, third;
  first.Dial(dialer_, client_.loop());
  second.Dial(dialer_, client_.loop());
  third.Dial(dialer_, client_.loop());
  ASSERT_TRUE(Until([&] { return first.stream != nullptr && second.stream != nullptr; }));
  network_.RunFor(absl::Seconds(1));
  EXPECT_EQ(third.calls, 0);
  first.stream.reset();
  first.attempt.reset();
  EXPECT_TRUE(Until([&] { return third.stream != nullptr; }));
  EXPECT_EQ(pool_->statistics().now.open(), 2u);
  EXPECT_EQ(test::Mistake(pool_->statistics()), "");
}

TEST_F(PooledDialerTest, TheTimeoutCountsForTheWaitToo) {
  Dialed first, second, third;
  first.Dial(dialer_, client_.loop());
  second.Dial(dialer_, client_.loop());
  third.Dial(dialer_, client_.loop(), {.timeout = absl::Seconds(2)});
  ASSERT_TRUE(Until([&] { return third.calls == 1; }));
  EXPECT_EQ(third.status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(PooledDialerTest, AnAttemptThatIsDestroyedIsGivenUp) {
  Dialed dialed;
  dialed.Dial(dialer_, client_.loop());
  dialed.attempt.reset();
  network_.RunFor(absl::Seconds(1));
  EXPECT_EQ(dialed.calls, 0);
  EXPECT_EQ(pool_->statistics().now.idle, 1u);
}

TEST_F(PooledDialerTest, TheStreamHasTheOptions) {
  Dialed dialed;
  dialed.Dial(dialer_, client_.loop(),
              {.stream = {.limits = {.high = 2, .low = 1}, .idle_timeout = absl::Seconds(7)}});
  ASSERT_TRUE(Until([&] { return dialed.stream != nullptr; }));
  EXPECT_EQ(dialed.stream->limits().high, 2u);
  dialed.stream->SetHandler(user_);
  network_.RunFor(absl::Seconds(8));
  ASSERT_TRUE(user_.closed.has_value());
  EXPECT_EQ(user_.closed->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(PooledDialerTest, WhyADialFailedIsPassedOn) {
  backend_.StopListening();
  Dialed dialed;
  dialed.Dial(dialer_, client_.loop());
  ASSERT_TRUE(Until([&] { return dialed.calls == 1; }));
  EXPECT_EQ(dialed.status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(PooledDialerTest, AttemptsAndStreamsMayOutliveThePool) {
  Dialed first, second, third;
  first.Dial(dialer_, client_.loop());
  second.Dial(dialer_, client_.loop());
  ASSERT_TRUE(Until([&] { return first.stream != nullptr && second.stream != nullptr; }));
  third.Dial(dialer_, client_.loop());
  pool_.reset();
  first.attempt.reset();
  first.stream->SetHandler(user_);
  first.stream->Send("hello");
  EXPECT_TRUE(Until([&] { return user_.received == "hello"; }));
  EXPECT_EQ(third.calls, 0);
}

// A dialer that uses the pool for which it dials.
class UserOfItsPool final : public Dialer {
 public:
  explicit UserOfItsPool(std::shared_ptr<const Dialer> lower) : lower_(std::move(lower)) {}
  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override {
    ++dials_;
    if (on_dial) on_dial();
    return std::make_unique<Counted>(live_, lower_->Dial(loop, endpoint, options, std::move(done)));
  }
  int dials() const { return dials_; }
  int live() const { return live_; }  // attempts

  std::function<void()> on_dial;

 private:
  struct Counted final : Attempt {
    Counted(int& live, std::unique_ptr<Attempt> lower) : live_(live), lower_(std::move(lower)) {
      ++live_;
    }
    ~Counted() override { --live_; }
    int& live_;
    std::unique_ptr<Attempt> lower_;
  };

  const std::shared_ptr<const Dialer> lower_;
  mutable int dials_ = 0;
  mutable int live_ = 0;
};

TEST_F(PooledDialerTest, ADialMakesRoomForWhatItAsksOfItsPool) {
  const auto pool = *ConnectionPool::Create(client_.loop(), {.max_open = 1});
  const auto dialer =
      std::make_shared<UserOfItsPool>(std::make_shared<PooledDialer>(*pool, direct_));
  const auto reserve = *pool->GetTarget({"reserve", 1}, dialer, {.min_idle = 1});
  ASSERT_TRUE(Until([&] { return pool->statistics().opened == 1; }));
  EXPECT_EQ(dialer->dials(), 1);
  EXPECT_EQ(dialer->live(), 0);
  EXPECT_EQ(pool->statistics().dials_given_up, 1u);
  EXPECT_EQ(test::Mistake(pool->statistics()), "");
}

TEST_F(PooledDialerTest, ADrainMayBeginInsideADial) {
  const auto pool = *ConnectionPool::Create(client_.loop(), {});
  const auto dialer = std::make_shared<UserOfItsPool>(direct_);
  bool drained = false;
  dialer->on_dial = [&] { pool->Drain(absl::Seconds(5), [&] { drained = true; }); };
  const auto reserve = *pool->GetTarget({"reserve", 1}, dialer, {.min_idle = 2});
  ASSERT_TRUE(Until([&] { return drained; }));
  EXPECT_EQ(dialer->dials(), 1);
  EXPECT_EQ(dialer->live(), 0);
  EXPECT_EQ(pool->statistics().dials_given_up, 1u);
  EXPECT_EQ(test::Mistake(pool->statistics()), "");
}

}  // namespace
}  // namespace sluice
