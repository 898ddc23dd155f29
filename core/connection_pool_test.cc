#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/connection_pool_fixture.h"
#include "sluice/core/connection_pool_testing.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"

namespace sluice {
namespace {

using test::ConnectionPoolTest;
using test::Ping;
using test::PoolUser;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

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

TEST_F(ConnectionPoolTest, AConnectionForARequestThatWasGivenUpIsNoYoungerForIt) {
  Create({.idle_timeout = absl::Seconds(1)});
  Warm(1);
  Settle(absl::Seconds(0.9));
  b_.Borrow(*pool_, target_);
  ASSERT_EQ(now().ready, 1u);
  b_.request = {};
  EXPECT_EQ(now().idle, 1u);
  Settle(absl::Seconds(0.2));
  EXPECT_EQ(stats().closed.idle_timeout, 1u);
}

TEST_F(ConnectionPoolTest, ConnectionsForRequestsThatWereGivenUpAreIdleInTheOrderOfTheirAge) {
  Create();
  Get(a_);
  Get(b_);
  Stream* const last = &b_.lease.stream();
  a_.lease.Return();
  Settle();
  InLoop([&] { b_.lease.Return(); });
  a_.Borrow(*pool_, target_);  // gets the last
  b_.Borrow(*pool_, target_);
  ASSERT_EQ(now().ready, 2u);
  a_.request = {};
  b_.request = {};
  ASSERT_TRUE(c_.TryBorrow(*pool_, target_));
  EXPECT_EQ(&c_.lease.stream(), last);
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

TEST_F(ConnectionPoolTest, ABorrowMakesNoTextOfItsTargetsName) {
  Create();
  const ConnectionPool::Target target =
      *pool_->GetTarget({std::string(200, 'x'), 1}, DialerTo(backend_));
  const auto count = [&](const ConnectionPool::Target& of) {
    a_.Borrow(*pool_, of);
    EXPECT_TRUE(Until([&] { return a_.has(); }));
    a_.lease.Return();
    const int64_t before = internal::CountAllocations().ever;
    const ConnectionPool::Request request =
        pool_->Borrow(of, {}, [](absl::StatusOr<ConnectionPool::Lease>) {});
    return internal::CountAllocations().ever - before;
  };
  EXPECT_EQ(count(target), count(target_));
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
