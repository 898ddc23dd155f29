// Checks of connections, the reserve, and the end.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/connection_pool_fixture.h"
#include "sluice/core/connection_pool_testing.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"

namespace sluice {
namespace {

using test::ConnectionPoolTest;
using test::Ping;
using test::PoolUser;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

// Checks.

class CheckTest : public ConnectionPoolTest {
 protected:
  void SetUp() override { CreateChecked(/*max_open=*/2); }
  void CreateChecked(size_t max_open) {
    Create({.target = {.max_open = max_open},
            .check = [this](Stream& stream,
                            ConnectionPool::CheckDone done) -> std::unique_ptr<StreamHandler> {
              ++checks_;
              if (refuse_) return nullptr;
              if (on_check_) on_check_(stream);
              return std::make_unique<Ping>(stream, std::move(done));
            },
            .check_after = absl::Seconds(1),
            .check_timeout = absl::Seconds(2)});
  }

  int checks_ = 0;
  bool refuse_ = false;
  std::function<void(Stream&)> on_check_;
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

TEST_F(CheckTest, SilenceOfOneIsEnoughToDialANewOne) {
  CreateChecked(/*max_open=*/8);
  Warm(6);
  Settle(absl::Seconds(1.1));
  backend_.silent = true;
  const MonotonicTime start = network_.now();
  a_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return a_.status.has_value(); }));
  ASSERT_TRUE(a_.has());
  EXPECT_LT(network_.now() - start, absl::Seconds(3));
  EXPECT_EQ(stats().closed.failed_check, 6u);
}

TEST_F(CheckTest, SilenceSaysNothingOfOneThatWasUsedLater) {
  Warm(2);
  Settle(absl::Seconds(1.1));
  Get(c_);
  backend_.silent = true;
  a_.Borrow(*pool_, target_);  // the other is asked
  EXPECT_EQ(now().checking, 1u);
  c_.lease.Return();
  ASSERT_TRUE(Until([&] { return a_.has(); }));
  a_.lease.Return();
  Settle(absl::Seconds(2.1));
  EXPECT_EQ(stats().closed.failed_check, 1u);
  EXPECT_EQ(now().idle, 1u);
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

TEST_F(CheckTest, AskingAndGivingUpDoesNotPutACheckOff) {
  Warm(1);
  Settle(absl::Seconds(0.9));
  a_.Borrow(*pool_, target_);
  ASSERT_EQ(now().ready, 1u);
  a_.request = {};
  Settle(absl::Seconds(0.2));
  InLoop([&] { EXPECT_FALSE(a_.TryBorrow(*pool_, target_)); });
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

TEST_F(CheckTest, ADrainMayBeginInACheck) {
  Warm(1);
  Settle(absl::Seconds(1.1));
  bool drained = false;
  on_check_ = [&](Stream& stream) {
    pool_->Drain(absl::Seconds(1), [&] { drained = true; });
    EXPECT_FALSE(stream.closing());  // it is there until the function has returned
  };
  a_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return drained && a_.status.has_value(); }));
  EXPECT_EQ(a_.code(), Code::kCancelled);
  EXPECT_EQ(stats().closed.drained, 1u);
  EXPECT_EQ(now().open(), 0u);
}

// Drains its pool when the answer is there.
class Drainer : public StreamHandler {
 public:
  Drainer(ConnectionPool& pool, std::string& log) : pool_(pool), log_(log) {}
  ~Drainer() override { log_ += " destroyed"; }

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> /*bytes*/) override {
    std::string& log = log_;
    pool_.Drain(absl::Seconds(1), [&log] { log += " drained"; });
    EXPECT_FALSE(stream.closing());
    log += "received";
  }

  ConnectionPool& pool_;
  std::string& log_;
};

TEST_F(CheckTest, ADrainMayBeginInTheAnswerToACheck) {
  std::string log;
  Create({.check =
              [&](Stream& stream, ConnectionPool::CheckDone /*done*/) {
                stream.Send("ping");
                return std::make_unique<Drainer>(*pool_, log);
              },
          .check_after = absl::Seconds(1)});
  Warm(1);
  Settle(absl::Seconds(1.1));
  a_.Borrow(*pool_, target_);
  ASSERT_TRUE(Until([&] { return absl::StrContains(log, "drained"); }));
  EXPECT_EQ(log, "received destroyed drained");
  EXPECT_EQ(stats().closed.drained, 1u);
}

TEST_F(CheckTest, ADrainThatMayNotWaitCutsWhatIsBeingChecked) {
  Warm(1);
  Settle(absl::Seconds(1.1));
  backend_.silent = true;
  a_.Borrow(*pool_, target_);
  Settle();
  ASSERT_EQ(now().checking, 1u);
  bool drained = false;
  InLoop([&] {
    pool_->Drain(absl::ZeroDuration(), [&] {
      drained = true;
      EXPECT_EQ(now().open(), 0u);
    });
  });
  ASSERT_TRUE(Until([&] { return drained; }));
  EXPECT_EQ(stats().closed.drained, 1u);
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
  CreateFor({.min_idle = 2});
  Settle(absl::Minutes(1));
  EXPECT_EQ(now().idle, 0u);
  EXPECT_GT(stats().closed.unexpected_bytes, 0u);
  EXPECT_LE(stats().dials, 100u);
}

TEST_F(ConnectionPoolTest, AFreshLeaseHearsAServerThatSpeaksFirst) {
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

}  // namespace
}  // namespace sluice
