// Requests that wait, for their target or for their turn among targets.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/connection_pool_fixture.h"
#include "sluice/core/connection_pool_testing.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"

namespace sluice {
namespace {

using test::ConnectionPoolTest;
using test::PoolBackend;
using test::PoolUser;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

// Limits and waiting.

TEST_F(ConnectionPoolTest, RequestsWaitInTheirOrderWhenAllAreOut) {
  CreateFor({.max_open = 1, .max_idle = 1});
  Get(a_);
  std::string order;
  std::vector<PoolUser> users(5);
  for (size_t i = 0; i < users.size(); ++i) {
    users[i].on_done = [&order, &users, i] {
      order += static_cast<char>('0' + i);
      users[i].lease.Return();
    };
    users[i].Borrow(*pool_, target_);
  }
  Settle();
  EXPECT_EQ(order, "");
  EXPECT_EQ(now().waiting, 5u);
  EXPECT_EQ(now().open(), 1u);
  EXPECT_FALSE(b_.TryBorrow(*pool_, target_));
  a_.lease.Return();
  EXPECT_EQ(order, "");  // not from inside
  EXPECT_FALSE(b_.TryBorrow(*pool_, target_));
  ASSERT_TRUE(Until([&] { return order.size() == 5; }));
  EXPECT_EQ(order, "01234");
  EXPECT_EQ(stats().dials, 1u);
}

TEST_F(ConnectionPoolTest, ADroppedConnectionIsReplacedForWhoWaits) {
  CreateFor({.max_open = 1, .max_idle = 1});
  Get(a_);
  b_.Borrow(*pool_, target_);
  Settle();
  a_.lease = {};
  ASSERT_TRUE(Until([&] { return b_.has(); }));
  EXPECT_FALSE(b_.lease.reused());
}

TEST_F(ConnectionPoolTest, ARequestWaitsNoLongerThanItsTimeout) {
  CreateFor({.max_open = 1, .max_idle = 1});
  Get(a_);
  const MonotonicTime start = network_.now();
  b_.Borrow(*pool_, target_, {.timeout = absl::Seconds(2)});
  c_.Borrow(*pool_, target_, {.timeout = absl::Seconds(4)});
  ASSERT_TRUE(Until([&] { return b_.status.has_value(); }));
  EXPECT_GE(network_.now() - start, absl::Seconds(2));
  EXPECT_LT(network_.now() - start, absl::Seconds(2.1));
  EXPECT_EQ(b_.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(std::string(b_.status->message()),
              HasSubstr("backend:9: no connection within 2s: 1 of 1 are open (1 of 1024 in the "
                        "whole pool), 1 other requests wait"));
  a_.lease.Return();
  EXPECT_TRUE(Until([&] { return c_.has(); }));
  EXPECT_EQ(stats().timed_out, 1u);
}

TEST_F(ConnectionPoolTest, TooManyRequestsAreRefused) {
  CreateFor({.max_open = 1, .max_idle = 1, .max_waiting = 2});
  Get(a_);
  b_.Borrow(*pool_, target_);
  c_.Borrow(*pool_, target_);
  d_.Borrow(*pool_, target_);
  EXPECT_EQ(d_.code(), PoolUser::kNone);
  ASSERT_TRUE(Until([&] { return d_.status.has_value(); }));
  EXPECT_EQ(d_.code(), Code::kResourceExhausted);
  EXPECT_THAT(std::string(d_.status->message()), HasSubstr("2 requests wait"));
  EXPECT_EQ(now().waiting, 2u);
  EXPECT_EQ(stats().refused, 1u);
}

TEST_F(ConnectionPoolTest, ARequestThatWasAcceptedIsNotRefusedWhenItsConnectionEnds) {
  CreateFor({.max_open = 1, .max_idle = 1, .max_waiting = 1});
  Warm(1);
  backend_.peers[0]->stream().Abort(absl::InternalError("reset"));
  network_.After(SimulatedLink().latency, [&] {  // both are there when the client's turn begins
    a_.Borrow(*pool_, target_);
    EXPECT_EQ(now().ready, 1u);
    b_.Borrow(*pool_, target_);
  });
  size_t most = 0;
  ASSERT_TRUE(Until([&] {
    most = std::max(most, now().waiting);
    return a_.has();
  }));
  EXPECT_EQ(most, 2u);
  a_.lease.Return();
  ASSERT_TRUE(Until([&] { return b_.has(); }));
}

TEST_F(ConnectionPoolTest, TooManyRequestsInAllAreRefused) {
  Create({.max_open = 1, .max_waiting = 1});
  auto other = NewBackend(10);
  Get(a_);
  b_.Borrow(*pool_, target_);
  c_.Borrow(*pool_, TargetOf(*other));
  ASSERT_TRUE(Until([&] { return c_.status.has_value(); }));
  EXPECT_EQ(c_.code(), Code::kResourceExhausted);
}

TEST_F(ConnectionPoolTest, WhatAGivenUpRequestWouldHaveGotGoesToTheNext) {
  CreateFor({.max_open = 1, .max_idle = 1});
  Get(a_);
  b_.Borrow(*pool_, target_);
  c_.Borrow(*pool_, target_);
  d_.Borrow(*pool_, target_);
  c_.request = {};
  a_.lease.Return();
  EXPECT_EQ(now().ready, 1u);
  b_.request = {};
  ASSERT_TRUE(Until([&] { return d_.has(); }));
  EXPECT_EQ(b_.code(), PoolUser::kNone);
  EXPECT_EQ(c_.code(), PoolUser::kNone);
  EXPECT_EQ(stats().given_up, 2u);
  EXPECT_EQ(stats().opened, 1u);
}

TEST_F(ConnectionPoolTest, AConnectionForARequestThatWasGivenUpBecomesIdle) {
  Create();
  a_.Borrow(*pool_, target_);
  a_.request = {};
  ASSERT_TRUE(Until([&] { return now().idle == 1; }));
  Get(b_);
  EXPECT_TRUE(b_.lease.reused());
  EXPECT_EQ(stats().dials, 1u);
}

TEST_F(ConnectionPoolTest, ARequestMayReplaceItselfInItsFunction) {
  Create();
  a_.on_done = [&] {
    a_.on_done = nullptr;
    a_.lease.Return();
    a_.Borrow(*pool_, target_);
  };
  a_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return stats().reused == 1; }));
}

TEST_F(ConnectionPoolTest, ADialThatFailsEndsTheRequestThatHasWaitedLongest) {
  Create();
  backend_.StopListening();
  a_.Borrow(*pool_, target_);
  b_.Borrow(*pool_, target_);
  EXPECT_EQ(a_.code(), PoolUser::kNone);
  ASSERT_TRUE(Until([&] { return a_.status.has_value() && b_.status.has_value(); }));
  EXPECT_EQ(a_.code(), Code::kUnavailable);
  EXPECT_THAT(std::string(a_.status->message()), HasSubstr(server_.Address(9).ToString()));
  EXPECT_EQ(b_.code(), Code::kUnavailable);
  EXPECT_EQ(stats().dial_failures, 2u);
  EXPECT_EQ(stats().failed, 2u);
  EXPECT_EQ(now().open(), 0u);
}

TEST_F(ConnectionPoolTest, ADialThatIsOlderThanARequestDoesNotFailIt) {
  Create();  // dials take at most 10 s
  network_.SetLink(client_, server_, {.ignore = 1});
  a_.Borrow(*pool_, target_, {.timeout = absl::Seconds(3)});
  Settle(absl::Seconds(9.9));
  EXPECT_EQ(a_.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(now().dialing, 1u);
  network_.SetLink(client_, server_, {});
  Get(b_);
  EXPECT_EQ(stats().dials, 2u);
  EXPECT_EQ(stats().dial_failures, 1u);
}

TEST_F(ConnectionPoolTest, AConnectionThatComesBackServesWhoWaitsForADial) {
  Create();
  Get(a_);
  network_.Partition(client_, server_);
  b_.Borrow(*pool_, target_);
  Settle();
  a_.lease.Return();
  ASSERT_TRUE(Until([&] { return b_.has(); }));
  EXPECT_TRUE(b_.lease.reused());
  network_.Heal(client_, server_);
  ASSERT_TRUE(Until([&] { return now().idle == 1; }));  // the one that was dialed
}

TEST_F(ConnectionPoolTest, WhoWantsAFreshConnectionIsNotOvertaken) {
  CreateFor({.max_open = 1, .max_idle = 1});
  Get(a_);
  std::string order;
  b_.on_done = [&] { order += 'b'; };
  c_.on_done = [&] { order += 'c'; };
  b_.Borrow(*pool_, target_, {.fresh_only = true});
  c_.Borrow(*pool_, target_);
  a_.lease.Return();
  ASSERT_TRUE(Until([&] { return b_.has(); }));
  EXPECT_EQ(order, "b");
  EXPECT_EQ(stats().closed.evicted, 1u);
  b_.lease.Return();
  ASSERT_TRUE(Until([&] { return c_.has(); }));
  EXPECT_TRUE(c_.lease.reused());
}

TEST_F(ConnectionPoolTest, AFreshConnectionTakesThePlaceOfAnIdleOneWhereThatIsTheLimit) {
  CreateFor({.max_open = 1, .max_idle = 1});
  Warm(1);
  Get(a_, {.fresh_only = true});
  EXPECT_FALSE(a_.lease.reused());
  EXPECT_EQ(stats().closed.evicted, 1u);
}

// Several targets.

class TwoTargetsTest : public ConnectionPoolTest {
 protected:
  void CreateBoth(ConnectionPool::Options options) {
    Create(std::move(options));
    second_ = TargetOf(*other_);
  }

  std::unique_ptr<PoolBackend> other_ = NewBackend(10);
  ConnectionPool::Target second_;
};

TEST_F(TwoTargetsTest, EndpointAndDialerMakeTheTarget) {
  Create();
  const std::shared_ptr<const Dialer> dialer = DialerTo(backend_);
  const ConnectionPool::Target one = *pool_->GetTarget({"x", 1}, dialer);
  const ConnectionPool::Target same = *pool_->GetTarget({"x", 1}, dialer);
  const ConnectionPool::Target other_port = *pool_->GetTarget({"x", 2}, dialer);
  const ConnectionPool::Target other_dialer = *pool_->GetTarget({"x", 1}, DialerTo(backend_));
  a_.Borrow(*pool_, one);
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  a_.lease.Return();
  EXPECT_FALSE(b_.TryBorrow(*pool_, other_port));
  EXPECT_FALSE(b_.TryBorrow(*pool_, other_dialer));
  EXPECT_TRUE(b_.TryBorrow(*pool_, same));
  EXPECT_EQ(one.endpoint().ToString(), "x:1");
}

TEST_F(TwoTargetsTest, TheLongestIdleOfAnyTargetMakesRoom) {
  CreateBoth({.max_open = 3});
  Get(a_);
  Get(b_);
  Stream* const kept = &b_.lease.stream();
  a_.lease.Return();
  b_.lease.Return();
  Get(c_, {.fresh_only = true});
  d_.Borrow(*pool_, second_);
  ASSERT_TRUE(Until([&] { return d_.has(); }));
  EXPECT_EQ(stats().closed.evicted, 1u);
  EXPECT_EQ(now().open(), 3u);
  ASSERT_TRUE(a_.TryBorrow(*pool_, target_));
  EXPECT_EQ(&a_.lease.stream(), kept);
}

TEST_F(TwoTargetsTest, AConnectionThatIsClosingMakesRoom) {
  CreateBoth({.max_open = 1, .idle_timeout = absl::Seconds(1)});
  Warm(1);
  network_.Partition(client_, server_);
  Settle(absl::Seconds(1.1));
  EXPECT_EQ(now().closing, 1u);
  a_.Borrow(*pool_, second_);
  EXPECT_EQ(now().closing, 0u);
  EXPECT_EQ(now().dialing, 1u);
}

TEST_F(TwoTargetsTest, ADialThatNobodyNeedsMakesRoom) {
  CreateBoth({.max_open = 1});
  network_.Partition(client_, server_);
  a_.Borrow(*pool_, target_);
  a_.request = {};
  EXPECT_EQ(now().dialing, 1u);
  network_.Heal(client_, server_);
  b_.Borrow(*pool_, second_);
  ASSERT_TRUE(Until([&] { return b_.has(); }));
  EXPECT_EQ(stats().dials_given_up, 1u);
}

TEST_F(TwoTargetsTest, ATargetThatHasManyGivesWayToOneThatHasFew) {
  CreateBoth({.max_open = 4});
  // Users of the first target that always want more, and two of the second.
  std::vector<PoolUser> greedy(20);
  for (PoolUser& user : greedy) {
    user.on_done = [this, &user] {
      network_.After(absl::Milliseconds(1), [this, &user] {
        user.lease.Return();
        user.Borrow(*pool_, target_);
      });
    };
    user.Borrow(*pool_, target_);
  }
  Settle();
  EXPECT_EQ(target_.counts().open(), 4u);
  a_.Borrow(*pool_, second_);
  b_.Borrow(*pool_, second_);
  c_.Borrow(*pool_, second_);
  ASSERT_TRUE(Until([&] { return a_.has() && b_.has(); }));
  Settle();
  // Half of them, and no more.
  EXPECT_FALSE(c_.has());
  EXPECT_EQ(second_.counts().open(), 2u);
  EXPECT_EQ(target_.counts().open(), 2u);
  const uint64_t dials = stats().dials;
  Settle(absl::Seconds(1));
  EXPECT_EQ(stats().dials, dials);  // and there is no going back and forth
  a_.lease.Return();
  ASSERT_TRUE(Until([&] { return c_.has(); }));
  EXPECT_TRUE(c_.lease.reused());
}

TEST_F(TwoTargetsTest, ThePoolsOnlyConnectionGoesToEachTargetInItsTurn) {
  CreateBoth({.max_open = 1});
  std::string order;
  std::vector<PoolUser> first(3), second(3);
  const auto ask = [&](PoolUser& user, const ConnectionPool::Target& target, char name) {
    user.on_done = [&order, &user, name] {
      order += name;
      user.lease.Return();
    };
    user.Borrow(*pool_, target);
  };
  for (PoolUser& user : first) ask(user, target_, '1');
  for (PoolUser& user : second) ask(user, second_, '2');
  ASSERT_TRUE(Until([&] { return order.size() == 6; }));
  EXPECT_EQ(order, "121212");
}

TEST_F(TwoTargetsTest, WhoReturnsAndBorrowsAtOnceDoesNotKeepOthersWaiting) {
  CreateBoth({.max_open = 1});
  Warm(1);
  ASSERT_TRUE(a_.TryBorrow(*pool_, target_));
  b_.Borrow(*pool_, second_);
  a_.lease.Return();
  EXPECT_FALSE(a_.TryBorrow(*pool_, target_));
  EXPECT_TRUE(Until([&] { return b_.has(); }));
}

TEST_F(TwoTargetsTest, WhoCanBeServedAtOnceIsNotRefusedBecauseOthersWait) {
  CreateBoth({.target = {.max_open = 1, .max_idle = 1}, .max_waiting = 1});
  Warm(1);
  a_.Borrow(*pool_, second_);
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  b_.Borrow(*pool_, second_);
  Settle();
  ASSERT_EQ(now().waiting, 1u);
  Get(c_);
  EXPECT_TRUE(c_.lease.reused());
  d_.Borrow(*pool_, target_);  // and this one has to wait
  ASSERT_TRUE(Until([&] { return d_.status.has_value(); }));
  EXPECT_EQ(d_.code(), Code::kResourceExhausted);
}

// Reserves and the limits of all.

TEST_F(TwoTargetsTest, AReserveIsFilledWhenAnotherTargetMakesRoom) {
  CreateBoth({.max_open = 1});
  Get(a_);
  const ConnectionPool::Target reserve =
      *pool_->GetTarget({"reserve", 1}, DialerTo(*other_), {.min_idle = 1});
  Settle();
  EXPECT_EQ(reserve.counts().open(), 0u);
  a_.lease = {};
  EXPECT_TRUE(Until([&] { return reserve.counts().idle == 1; }));
}

TEST_F(TwoTargetsTest, AReserveIsFilledWhenAnIdleConnectionOfAnotherTargetIsLent) {
  CreateBoth({.target = {.max_idle = 1}, .max_open = 2, .max_idle = 1});
  Warm(1);
  const ConnectionPool::Target reserve =
      *pool_->GetTarget({"reserve", 1}, DialerTo(*other_), {.min_idle = 1});
  Settle();
  EXPECT_EQ(reserve.counts().open(), 0u);
  ASSERT_TRUE(a_.TryBorrow(*pool_, target_));
  EXPECT_TRUE(Until([&] { return reserve.counts().idle == 1; }));
}

}  // namespace
}  // namespace sluice
