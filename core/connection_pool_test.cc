#include "sluice/core/connection_pool.h"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool_testing.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"

namespace sluice {
namespace {

using test::PoolBackend;
using test::PoolUser;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

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

// The example.

class Asker : public StreamHandler {
 public:
  Asker(ConnectionPool& pool, ConnectionPool::Target target)
      : pool_(pool), target_(std::move(target)) {}
  void Ask() {
    answer_.clear();
    if ((lease_ = pool_.TryBorrow(target_))) return Send();
    Wait({.timeout = absl::Seconds(3)});
  }
  const std::string& answer() const { return answer_; }

 private:
  void Wait(const ConnectionPool::BorrowOptions& options) {
    request_ = pool_.Borrow(target_, options, [this](absl::StatusOr<ConnectionPool::Lease> l) {
      if (!l.ok()) return Fail(l.status());
      lease_ = *std::move(l);
      Send();
    });
  }
  void Send() {
    lease_.stream().SetHandler(*this);
    lease_.stream().Send("question\n");
  }
  void OnReceive(Stream&, absl::Span<uint8_t> bytes) override {
    answer_.append(bytes.begin(), bytes.end());
    if (absl::EndsWith(answer_, "\n")) lease_.Return();
  }
  void OnClose(Stream&, const absl::Status& status) override {
    const bool again = lease_.reused() && answer_.empty();
    lease_ = {};
    again ? Wait({.timeout = absl::Seconds(3), .fresh_only = true}) : Fail(status);
  }
  void Fail(const absl::Status& status) { ADD_FAILURE() << status; }

  ConnectionPool& pool_;
  ConnectionPool::Target target_;
  ConnectionPool::Lease lease_;
  ConnectionPool::Request request_;
  std::string answer_;
};

TEST_F(ConnectionPoolTest, HeaderExample) {
  EventLoop& loop = client_.loop();
  auto dialer = DialerTo(backend_);
  auto pool = *ConnectionPool::Create(loop, {.target = {.max_open = 64}});
  auto target = *pool->GetTarget({.host = "127.0.0.1", .port = 9000}, dialer);
  Asker asker(*pool, target);
  asker.Ask();

  ASSERT_TRUE(Until([&] { return asker.answer() == "question\n"; }));
  EXPECT_EQ(pool->statistics().now.idle, 1u);
  asker.Ask();
  ASSERT_TRUE(Until([&] { return asker.answer() == "question\n"; }));
  EXPECT_EQ(pool->statistics().reused, 1u);
  // The server closes as we borrow.
  backend_.peers[0]->stream().Close();
  Until([&] { return network_.now() > MonotonicTime() && backend_.peers[0]->stream().closing(); });
  asker.Ask();
  ASSERT_TRUE(Until([&] { return asker.answer() == "question\n"; }));
  EXPECT_EQ(pool->statistics().fresh, 2u);
}

// Lending and returning.

TEST_F(ConnectionPoolTest, AReturnedConnectionIsLentAgain) {
  Create();
  EXPECT_FALSE(a_.TryBorrow(*pool_, target_));
  Get(a_);
  EXPECT_FALSE(a_.lease.reused());
  Stream* const stream = &a_.lease.stream();
  a_.lease.Return();
  EXPECT_FALSE(a_.has());
  ASSERT_TRUE(b_.TryBorrow(*pool_, target_));
  EXPECT_EQ(&b_.lease.stream(), stream);
  EXPECT_TRUE(b_.lease.reused());
  b_.lease.stream().Send("hello");
  EXPECT_TRUE(Until([&] { return b_.received == "hello"; }));
  EXPECT_EQ(stats().dials, 1u);
  EXPECT_EQ(stats().misses, 1u);
  EXPECT_EQ(stats().returned, 1u);
}

TEST_F(ConnectionPoolTest, TheLastReturnedIsLentFirst) {
  Create();
  Get(a_);
  Get(b_);
  Stream* const first = &a_.lease.stream();
  Stream* const second = &b_.lease.stream();
  b_.lease.Return();
  a_.lease.Return();
  ASSERT_TRUE(c_.TryBorrow(*pool_, target_));
  EXPECT_EQ(&c_.lease.stream(), first);
  ASSERT_TRUE(d_.TryBorrow(*pool_, target_));
  EXPECT_EQ(&d_.lease.stream(), second);
}

TEST_F(ConnectionPoolTest, ADestroyedLeaseNeverGoesBack) {
  Create();
  Get(a_);
  a_.lease = {};
  EXPECT_EQ(stats().closed.dropped, 1u);
  EXPECT_EQ(now().open(), 0u);
  EXPECT_TRUE(Until([&] { return backend_.open() == 0; }));
}

TEST_F(ConnectionPoolTest, AConnectionThatItsUserBrokeNeverGoesBack) {
  Create();
  Get(a_);
  a_.lease.stream().Send("not sent yet");
  a_.lease.Return();
  Get(a_);
  a_.lease.stream().PauseReceiving();
  a_.lease.Return();
  Get(a_);
  a_.lease.stream().Close();
  a_.lease.Return();
  Get(a_);
  a_.lease.stream().Abort(absl::InternalError("broken"));
  a_.lease.Return();
  EXPECT_EQ(stats().closed.unclean, 4u);
  EXPECT_EQ(stats().returned, 4u);
  EXPECT_EQ(now().open(), 0u);
  EXPECT_FALSE(a_.TryBorrow(*pool_, target_));
}

TEST_F(ConnectionPoolTest, AReturnedConnectionForgetsStorageToReceiveInto) {
  Create();
  Get(a_);
  auto storage = std::make_unique<uint8_t[]>(100);
  a_.lease.stream().ReceiveInto(absl::MakeSpan(storage.get(), 100));
  a_.lease.Return();
  storage.reset();
  ASSERT_TRUE(b_.TryBorrow(*pool_, target_));
  b_.lease.stream().Send("hello");
  EXPECT_TRUE(Until([&] { return b_.received == "hello"; }));
}

TEST_F(ConnectionPoolTest, BytesBeforeThereIsAHandlerAbortTheLease) {
  Create();
  Warm(1);
  ConnectionPool::Lease lease = pool_->TryBorrow(target_);
  backend_.peers[0]->stream().Send("early");
  ASSERT_TRUE(Until([&] { return lease.stream().closing(); }));
  EXPECT_EQ(now().lent, 1u);
  lease.Return();
  EXPECT_EQ(stats().closed.unclean, 1u);
}

TEST_F(ConnectionPoolTest, ALeaseWithoutAHandlerReceivesNothing) {
  Create();
  Warm(1);
  ConnectionPool::Lease lease = pool_->TryBorrow(target_);
  lease.stream().ClearHandler();
  backend_.peers[0]->stream().Send("early");
  Settle();
  a_.Take(std::move(lease));
  EXPECT_TRUE(Until([&] { return a_.received == "early"; }));
}

TEST_F(ConnectionPoolTest, AStreamThatIsTakenOutKeepsItsPlaceUntilTheLeaseGoes) {
  CreateFor({.max_open = 1, .max_idle = 1});
  Warm(1);
  ConnectionPool::Lease lease = pool_->TryBorrow(target_);
  std::unique_ptr<Stream> stream = lease.TakeStream();
  backend_.peers[0]->stream().Send("early");
  Settle();
  stream->SetHandler(a_);
  EXPECT_TRUE(Until([&] { return a_.received == "early"; }));
  b_.Borrow(*pool_, target_);
  stream.reset();
  Settle();
  EXPECT_FALSE(b_.has());
  lease = {};
  EXPECT_EQ(stats().closed.taken, 1u);
  EXPECT_TRUE(Until([&] { return b_.has(); }));
}

// Idle connections.

TEST_F(ConnectionPoolTest, AnEndWhileIdleTakesTheConnectionOut) {
  Create();
  Warm(2);
  backend_.peers[0]->stream().Close();
  ASSERT_TRUE(Until([&] { return now().idle == 1; }));
  EXPECT_EQ(stats().closed.ended, 1u);
  EXPECT_TRUE(Until([&] { return now().open() == 1; }));
  EXPECT_TRUE(Until([&] { return backend_.peers[0]->clean(); }));
  backend_.peers[1]->stream().Abort(absl::InternalError("reset"));
  ASSERT_TRUE(Until([&] { return now().open() == 0; }));
  EXPECT_EQ(stats().closed.ended, 2u);
  EXPECT_FALSE(a_.TryBorrow(*pool_, target_));
}

TEST_F(ConnectionPoolTest, BytesWhileIdleTakeTheConnectionOut) {
  Create();
  Warm(1);
  backend_.peers[0]->stream().Send("nobody asked");
  ASSERT_TRUE(Until([&] { return now().open() == 0; }));
  EXPECT_EQ(stats().closed.unexpected_bytes, 1u);
}

TEST_F(ConnectionPoolTest, WhatNobodyBorrowsComesOfAge) {
  Create({.idle_timeout = absl::Seconds(30)});
  Warm(2);
  Settle(absl::Seconds(20));
  InLoop([&] {
    ASSERT_TRUE(a_.TryBorrow(*pool_, target_));
    a_.lease.Return();
  });
  Settle(absl::Seconds(9.9));
  EXPECT_EQ(now().idle, 2u);
  Settle(absl::Seconds(0.2));
  EXPECT_EQ(now().idle, 1u);
  EXPECT_EQ(stats().closed.idle_timeout, 1u);
  Settle(absl::Seconds(19.7));
  EXPECT_EQ(now().idle, 1u);
  Settle(absl::Seconds(0.4));
  EXPECT_EQ(now().open(), 0u);
  EXPECT_EQ(backend_.open(), 0u);
  EXPECT_TRUE(backend_.peers[0]->clean());
}

TEST_F(ConnectionPoolTest, LifeEndsIdleConnectionsAtOnceAndLentOnesWhenTheyReturn) {
  Create({.life_time = absl::Seconds(30), .life_time_jitter = 0});
  Get(a_);
  Warm(1);
  Settle(absl::Seconds(29.9));
  EXPECT_EQ(now().idle, 1u);
  Settle(absl::Seconds(0.2));
  EXPECT_EQ(now().idle, 0u);
  EXPECT_EQ(stats().closed.life_time, 1u);
  EXPECT_EQ(now().lent, 1u);
  a_.lease.Return();
  EXPECT_EQ(stats().closed.life_time, 2u);
  EXPECT_EQ(now().idle, 0u);
}

TEST_F(ConnectionPoolTest, LivesThatBeganTogetherEndApart) {
  Create({.target = {.min_idle = 20},
          .idle_timeout = absl::Hours(1),
          .life_time = absl::Seconds(100),
          .life_time_jitter = 0.5});
  ASSERT_TRUE(Until([&] { return now().idle == 20; }));
  Settle(absl::Seconds(49));
  EXPECT_EQ(stats().closed.life_time, 0u);
  Settle(absl::Seconds(26));
  EXPECT_GE(stats().closed.life_time, 4u);
  EXPECT_LE(stats().closed.life_time, 16u);
}

TEST_F(ConnectionPoolTest, BeyondMaxIdleTheLongestIdleIsClosed) {
  CreateFor({.max_open = 10, .max_idle = 2});
  Get(a_);
  Get(b_);
  Get(c_);
  Stream* const oldest = &a_.lease.stream();
  a_.lease.Return();
  b_.lease.Return();
  c_.lease.Return();
  EXPECT_EQ(now().idle, 2u);
  EXPECT_EQ(stats().closed.surplus, 1u);
  ASSERT_TRUE(d_.TryBorrow(*pool_, target_));
  EXPECT_NE(&d_.lease.stream(), oldest);
  EXPECT_TRUE(Until([&] { return backend_.open() == 2; }));
  EXPECT_TRUE(backend_.peers[0]->clean());
}

TEST_F(ConnectionPoolTest, APoolMayKeepNoIdleConnections) {
  CreateFor({.max_open = 4, .max_idle = 0});
  Get(a_);
  a_.lease.Return();
  EXPECT_EQ(now().idle, 0u);
  EXPECT_TRUE(Until([&] { return now().open() == 0; }));
}

TEST_F(ConnectionPoolTest, MaxIdleInAllClosesTheLongestIdleOfAnyTarget) {
  Create({.max_idle = 2});
  auto other = NewBackend(10);
  Warm(2);
  const ConnectionPool::Target second = TargetOf(*other);
  a_.Borrow(*pool_, second);
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  a_.lease.Return();
  EXPECT_EQ(target_.counts().idle, 1u);
  EXPECT_EQ(second.counts().idle, 1u);
  EXPECT_EQ(stats().closed.surplus, 1u);
}

// A server that closes as we borrow.

TEST_F(ConnectionPoolTest, AServerThatClosesAsWeBorrowIsMetByAFreshConnection) {
  Create();
  Warm(2);
  backend_.peers[0]->stream().Close();
  backend_.peers[1]->stream().Close();
  ASSERT_TRUE(a_.TryBorrow(*pool_, target_));  // its end is on the way
  EXPECT_TRUE(a_.lease.reused());
  a_.lease.stream().Send("question");
  ASSERT_TRUE(Until([&] { return a_.closed.has_value(); }));
  a_.lease = {};
  Get(a_, {.fresh_only = true});
  EXPECT_FALSE(a_.lease.reused());
  a_.lease.stream().Send("question");
  EXPECT_TRUE(Until([&] { return a_.received == "question"; }));
}

TEST_F(ConnectionPoolTest, ARequestWhoseConnectionEndsBeforeItHearsOfItGetsAnother) {
  Create();
  Warm(1);
  // Both are there when the client's next turn begins.
  backend_.peers[0]->stream().Abort(absl::InternalError("reset"));
  network_.After(SimulatedLink().latency, [&] {
    a_.Borrow(*pool_, target_);
    EXPECT_EQ(now().ready, 1u);
  });
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  EXPECT_FALSE(a_.lease.reused());
  EXPECT_EQ(stats().reused, 0u);
  EXPECT_EQ(stats().closed.ended, 1u);
}

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

// Checks.

class Ping : public StreamHandler {
 public:
  Ping(Stream& stream, ConnectionPool::CheckDone done) : done_(std::move(done)) {
    stream.Send("ping");
  }

 private:
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    answer_.append(bytes.begin(), bytes.end());
    if (answer_.size() == 4) done_(answer_ == "ping");
  }
  void OnClose(Stream& /*stream*/, const absl::Status& /*status*/) override { done_(false); }

  ConnectionPool::CheckDone done_;
  std::string answer_;
};

class CheckTest : public ConnectionPoolTest {
 protected:
  void SetUp() override {
    Create({.target = {.max_open = 2},
            .check = [this](Stream& stream,
                            ConnectionPool::CheckDone done) -> std::unique_ptr<StreamHandler> {
              ++checks_;
              if (refuse_) return nullptr;
              return std::make_unique<Ping>(stream, std::move(done));
            },
            .check_after = absl::Seconds(1),
            .check_timeout = absl::Seconds(2)});
  }

  int checks_ = 0;
  bool refuse_ = false;
};

TEST_F(CheckTest, AConnectionThatWasJustUsedIsNotAsked) {
  Warm(1);
  Settle(absl::Seconds(0.9));
  EXPECT_TRUE(a_.TryBorrow(*pool_, target_));
  EXPECT_EQ(checks_, 0);
}

TEST_F(CheckTest, OneThatHasBeenIdleIsLentWhenItAnswers) {
  Warm(1);
  Settle(absl::Seconds(1.1));
  InLoop([&] { EXPECT_FALSE(a_.TryBorrow(*pool_, target_)); });
  a_.Borrow(*pool_, target_);
  EXPECT_EQ(now().checking, 1u);
  EXPECT_EQ(checks_, 0);  // not from inside
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  EXPECT_TRUE(a_.lease.reused());
  EXPECT_EQ(a_.received, "");
  EXPECT_EQ(checks_, 1);
  EXPECT_EQ(stats().checks_passed, 1u);
}

TEST_F(CheckTest, OneThatDoesNotAnswerIsReplaced) {
  Warm(1);
  Settle(absl::Seconds(1.1));
  backend_.silent = true;
  const MonotonicTime start = network_.now();
  a_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  EXPECT_GE(network_.now() - start, absl::Seconds(2));
  EXPECT_FALSE(a_.lease.reused());
  EXPECT_EQ(stats().closed.failed_check, 1u);
}

TEST_F(CheckTest, OneThatEndsMeanwhileIsReplaced) {
  Warm(1);
  Settle(absl::Seconds(1.1));
  backend_.peers[0]->stream().Abort(absl::InternalError("reset"));
  a_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  EXPECT_FALSE(a_.lease.reused());
  EXPECT_EQ(stats().closed.failed_check + stats().closed.ended, 1u);
}

TEST_F(CheckTest, ACheckThatCannotBeginHasFailed) {
  Warm(2);
  refuse_ = true;
  Settle(absl::Seconds(1.1));
  a_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  EXPECT_FALSE(a_.lease.reused());
  EXPECT_EQ(stats().closed.failed_check, 2u);
}

TEST_F(CheckTest, ARequestThatIsGivenUpLeavesTheConnectionIdle) {
  Warm(1);
  Settle(absl::Seconds(1.1));
  a_.Borrow(*pool_, target_);
  a_.request = {};
  ASSERT_TRUE(Until([&] { return now().idle == 1; }));
  EXPECT_TRUE(b_.TryBorrow(*pool_, target_));
}

TEST_F(CheckTest, EachRequestHasOneCheckUnderWay) {
  Warm(2);
  Settle(absl::Seconds(1.1));
  a_.Borrow(*pool_, target_);
  EXPECT_EQ(now().checking, 1u);
  b_.Borrow(*pool_, target_);
  EXPECT_EQ(now().checking, 2u);
  EXPECT_EQ(now().dialing, 0u);
  ASSERT_TRUE(Until([&] { return a_.has() && b_.has(); }));
}

// The reserve.

TEST_F(ConnectionPoolTest, AReserveIsKeptFilled) {
  CreateFor({.min_idle = 3});
  ASSERT_TRUE(Until([&] { return now().idle == 3; }));
  EXPECT_EQ(stats().dials, 3u);
  ASSERT_TRUE(a_.TryBorrow(*pool_, target_));
  EXPECT_TRUE(a_.lease.reused());
  ASSERT_TRUE(Until([&] { return now().idle == 3; }));
  backend_.peers[3]->stream().Close();
  ASSERT_TRUE(Until([&] { return now().idle < 3; }));
  ASSERT_TRUE(Until([&] { return now().idle == 3; }));
}

TEST_F(ConnectionPoolTest, AReserveStaysWithinTheLimits) {
  Create({.target = {.max_open = 4, .max_idle = 4, .min_idle = 4}, .max_open = 3});
  ASSERT_TRUE(Until([&] { return now().idle == 3; }));
  Settle();
  EXPECT_EQ(stats().dials, 3u);
  Get(a_);
  Settle();
  EXPECT_EQ(now().open(), 3u);
  a_.lease = {};
  EXPECT_TRUE(Until([&] { return now().idle == 3; }));
}

TEST_F(ConnectionPoolTest, AReserveBacksOffWhileDialsFail) {
  backend_.StopListening();
  Create({.target = {.min_idle = 5},
          .least_backoff = absl::Milliseconds(100),
          .most_backoff = absl::Seconds(10)});
  Settle(absl::Minutes(1));
  EXPECT_GE(stats().dial_failures, 10u);
  EXPECT_LE(stats().dial_failures, 20u);
  backend_.Listen(server_.loop());
  EXPECT_TRUE(Until([&] { return now().idle == 5; }));
}

TEST_F(ConnectionPoolTest, AReserveBacksOffFromAServerThatEndsWhatItAccepts) {
  backend_.closes_at_once = true;
  CreateFor({.min_idle = 5});
  Settle(absl::Minutes(1));
  EXPECT_LE(stats().dials, 100u);
  backend_.closes_at_once = false;
  EXPECT_TRUE(Until([&] { return now().idle == 5; }));
}

TEST_F(ConnectionPoolTest, AReserveIsForATargetThatSomebodyHas) {
  Create({.target = {.min_idle = 2}, .idle_timeout = absl::Seconds(10)});
  ASSERT_TRUE(Until([&] { return now().idle == 2; }));
  target_ = {};
  Settle(absl::Seconds(11));
  EXPECT_EQ(now().open(), 0u);
  EXPECT_EQ(stats().dials, 2u);
}

TEST_F(ConnectionPoolTest, AServerThatSpeaksFirstCannotBeHeldInReserve) {
  backend_.greets = true;
  Create();
  Get(a_);
  EXPECT_TRUE(Until([&] { return a_.received == "welcome"; }));
}

// Draining.

TEST_F(ConnectionPoolTest, ADrainTellsWhoWaitsClosesWhatIsIdleAndAwaitsWhatIsLent) {
  CreateFor({.max_open = 2, .max_idle = 2});
  Warm(2);
  ASSERT_TRUE(a_.TryBorrow(*pool_, target_));
  bool drained = false;
  pool_->Drain(absl::Minutes(1), [&] { drained = true; });
  EXPECT_EQ(now().idle, 0u);
  EXPECT_FALSE(b_.TryBorrow(*pool_, target_));
  b_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return b_.status.has_value(); }));
  EXPECT_EQ(b_.code(), Code::kFailedPrecondition);
  EXPECT_THAT(std::string(b_.status->message()), HasSubstr("draining"));
  ASSERT_TRUE(Until([&] { return now().open() == 1; }));
  EXPECT_FALSE(drained);
  a_.lease.stream().Send("last");
  ASSERT_TRUE(Until([&] { return a_.received == "last"; }));
  a_.lease.Return();
  EXPECT_FALSE(drained);
  ASSERT_TRUE(Until([&] { return drained; }));
  EXPECT_EQ(now().open(), 0u);
  EXPECT_EQ(stats().closed.drained, 2u);
  Settle();
  EXPECT_TRUE(backend_.peers[0]->clean() && backend_.peers[1]->clean());
}

TEST_F(ConnectionPoolTest, RequestsThatWaitAreCancelledByADrain) {
  CreateFor({.max_open = 1, .max_idle = 1});
  Get(a_);
  b_.Borrow(*pool_, target_);
  c_.Borrow(*pool_, target_);
  d_.Borrow(*pool_, target_);
  a_.lease.Return();
  ASSERT_EQ(now().ready, 1u);
  bool drained = false;
  pool_->Drain(absl::Minutes(1), [&] { drained = true; });
  EXPECT_EQ(b_.code(), PoolUser::kNone);  // not from inside
  ASSERT_TRUE(Until([&] { return drained && d_.status.has_value(); }));
  EXPECT_EQ(b_.code(), Code::kCancelled);
  EXPECT_EQ(c_.code(), Code::kCancelled);
  EXPECT_EQ(d_.code(), Code::kCancelled);
  EXPECT_EQ(stats().cancelled, 3u);
}

TEST_F(ConnectionPoolTest, WhatIsNotReturnedInTimeIsAborted) {
  Create();
  Get(a_);
  bool drained = false;
  const MonotonicTime start = network_.now();
  pool_->Drain(absl::Seconds(5), [&] { drained = true; });
  ASSERT_TRUE(Until([&] { return drained && a_.closed.has_value(); }));
  EXPECT_GE(network_.now() - start, absl::Seconds(5));
  EXPECT_EQ(a_.closed->code(), Code::kDeadlineExceeded);
  a_.lease = {};
  EXPECT_EQ(now().open(), 0u);
}

TEST_F(ConnectionPoolTest, ADrainOfNothingIsDoneLater) {
  Create();
  bool drained = false;
  pool_->Drain(absl::InfiniteDuration(), [&] {
    drained = true;
    pool_.reset();  // which is allowed
  });
  EXPECT_FALSE(drained);
  EXPECT_TRUE(network_.RunUntil([&] { return drained; }, absl::Minutes(1)));
}

TEST_F(ConnectionPoolTest, ADrainGivesUpDialsAndTheReserve) {
  network_.Partition(client_, server_);
  CreateFor({.min_idle = 3});
  Settle();
  EXPECT_EQ(now().dialing, 3u);
  bool drained = false;
  pool_->Drain(absl::Minutes(1), [&] { drained = true; });
  EXPECT_EQ(now().dialing, 0u);
  ASSERT_TRUE(Until([&] { return drained; }));
  Settle(absl::Minutes(1));
  EXPECT_EQ(stats().dials, 3u);
  EXPECT_EQ(stats().dials_given_up, 3u);
}

TEST_F(ConnectionPoolTest, TheLoopsDrainEndsWithThePoolsConnections) {
  CreateFor({.max_open = 3, .max_idle = 3, .min_idle = 1});
  Get(a_);
  Get(b_);
  ASSERT_TRUE(Until([&] { return now().idle == 1; }));
  Get(c_);
  d_.Borrow(*pool_, target_);
  Settle();
  EXPECT_EQ(now().waiting, 1u);
  bool drained = false;
  client_.loop().Drain(absl::Minutes(1), [&] { drained = true; });
  a_.lease.Return();  // is closed, as who waits is not served any more
  b_.lease = {};
  const MonotonicTime start = network_.now();
  ASSERT_TRUE(Until([&] { return d_.status.has_value(); }));
  EXPECT_EQ(d_.code(), Code::kCancelled);
  c_.lease = {};
  ASSERT_TRUE(Until([&] { return drained; }));
  EXPECT_LT(network_.now() - start, absl::Seconds(1));
  EXPECT_EQ(now().open(), 0u);
}

// Lifetimes.

TEST_F(ConnectionPoolTest, LeasesAndTargetsMayOutliveThePool) {
  CreateFor({.max_open = 2, .max_idle = 2});
  Get(a_);
  Get(b_);
  c_.Borrow(*pool_, target_);
  pool_.reset();
  a_.lease.stream().Send("hello");
  ASSERT_TRUE(Until([&] { return a_.received == "hello"; }));
  a_.lease.Return();
  b_.lease = {};
  EXPECT_TRUE(Until([&] { return backend_.open() == 0; }));
  EXPECT_EQ(c_.code(), PoolUser::kNone);
  EXPECT_EQ(target_.endpoint().ToString(), "backend:9");
}

TEST_F(ConnectionPoolTest, ThePoolMayGoInARequestsFunction) {
  Create();
  a_.on_done = [&] { pool_.reset(); };
  b_.Borrow(*pool_, target_);
  a_.Borrow(*pool_, target_);
  c_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  EXPECT_EQ(pool_, nullptr);
  a_.lease = {};
  Settle();
  EXPECT_EQ(c_.code(), PoolUser::kNone);
}

TEST_F(ConnectionPoolTest, ThePoolMayGoInAnyState) {
  for (int step = 0; step < 60; ++step) {
    Create({.target = {.max_open = 3, .min_idle = 1},
            .idle_timeout = absl::Milliseconds(2),
            .check =
                [](Stream& stream, ConnectionPool::CheckDone done) {
                  return std::make_unique<Ping>(stream, std::move(done));
                },
            .check_after = absl::Milliseconds(1)});
    a_.Borrow(*pool_, target_);
    Settle(absl::Microseconds(53) * step);
    b_.Borrow(*pool_, target_);
    if (a_.has()) a_.lease.Return();
    Settle(absl::Microseconds(31) * step);
    c_.Borrow(*pool_, target_);
    if (step % 2 == 0) pool_->Drain(absl::Seconds(1), [] {});
    pool_.reset();
    a_.lease = {};
    b_.lease = {};
  }
  Settle(absl::Seconds(1));
  EXPECT_EQ(backend_.open(), 0u);
}

// Options.

absl::Status Refused(ConnectionPool::Options options) {
  SimulatedNetwork network(1);
  return ConnectionPool::Create(network.AddHost("x").loop(), std::move(options)).status();
}

TEST(ConnectionPoolOptionsTest, WhatContradictsItselfIsRefused) {
  EXPECT_EQ(Refused({}), absl::OkStatus());
  EXPECT_THAT(std::string(Refused({.target = {.max_open = 0}}).message()),
              HasSubstr("max_open must be at least 1"));
  EXPECT_THAT(std::string(Refused({.max_open = 0}).message()), HasSubstr("the pool's max_open"));
  EXPECT_THAT(std::string(Refused({.target = {.max_idle = 2, .min_idle = 3}}).message()),
              HasSubstr("min_idle of 3 must be at most its max_idle (2)"));
  EXPECT_THAT(std::string(Refused({.target = {.max_waiting = 0}}).message()),
              HasSubstr("max_waiting"));
  EXPECT_THAT(std::string(Refused({.idle_timeout = absl::ZeroDuration()}).message()),
              HasSubstr("idle_timeout of 0 must be longer than 0"));
  EXPECT_THAT(std::string(Refused({.life_time_jitter = 1}).message()),
              HasSubstr("life_time_jitter of 1 must be from 0 to below 1"));
  EXPECT_THAT(std::string(Refused({.most_backoff = absl::Milliseconds(1)}).message()),
              HasSubstr("most_backoff of 1ms must be at least its least_backoff"));
  for (const absl::Status& status :
       {Refused({.max_waiting = 0}), Refused({.life_time = -absl::Seconds(1)})})
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
}

TEST_F(ConnectionPoolTest, ATargetsOptionsCanBeChanged) {
  Create();
  const std::shared_ptr<const Dialer> dialer = DialerTo(backend_);
  EXPECT_EQ(pool_->GetTarget({"x", 1}, dialer, {.max_open = 0}).status().code(),
            Code::kInvalidArgument);
  target_ = *pool_->GetTarget({"x", 1}, dialer);
  Warm(3);
  target_ = *pool_->GetTarget({"x", 1}, dialer, {.max_open = 4, .max_idle = 1});
  EXPECT_EQ(target_.counts().idle, 1u);
  EXPECT_EQ(stats().closed.surplus, 2u);
  target_ = *pool_->GetTarget({"x", 1}, dialer, {.max_open = 4, .max_idle = 4, .min_idle = 4});
  EXPECT_TRUE(Until([&] { return target_.counts().idle == 4; }));
}

}  // namespace
}  // namespace sluice
