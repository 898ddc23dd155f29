#include "sluice/core/event_loop.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/idle_poller.h"

namespace sluice {
namespace {

// Long enough never to be reached by a test that works.
constexpr absl::Duration kBound = absl::Seconds(60);

std::unique_ptr<EventLoop> NewLoop() {
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
  EXPECT_TRUE(loop.ok()) << loop.status();
  return *std::move(loop);
}

// A loop over an IdlePoller.
class IdleLoopTest : public testing::Test {
 protected:
  std::atomic<int> wakes_{0};
  IdlePoller* poller_ = new IdlePoller(wakes_);
  EventLoop loop_{std::unique_ptr<Poller>(poller_)};
};

TEST(EventLoopTest, HeaderExample) {
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  Timer tick([&] { loop->Stop(); });
  loop->ArmTimer(tick, absl::Milliseconds(10));
  std::thread other([&] { loop->Post([] { /* on the loop's thread */ }); });
  loop->Run();
  other.join();
}

TEST(EventLoopTest, RunsPostedFunctionsOfOneThreadInOrder) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) loop->Post([&order, i] { order.push_back(i); });
  ASSERT_TRUE(loop->RunUntil([&] { return order.size() == 100; }, kBound));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  EXPECT_EQ(loop->counters().posts, 100u);
}

// Under tsan this is also the proof that the queue is free of races. No post may be lost, whether
// the loop sleeps, is about to, or is busy.
TEST(EventLoopTest, LosesNoPostOfEightThreads) {
  constexpr int kThreads = 8;
  constexpr int kPosts = 5'000;
  std::unique_ptr<EventLoop> loop = NewLoop();
  std::vector<int> last(kThreads, -1);
  int total = 0;
  bool in_order = true;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        loop->Post([&, t, i] {
          in_order = in_order && last[static_cast<size_t>(t)] == i - 1;
          last[static_cast<size_t>(t)] = i;
          ++total;
        });
        if (i % 16 == 0) std::this_thread::yield();
      }
    });
  }
  EXPECT_TRUE(loop->RunUntil([&] { return total == kThreads * kPosts; }, kBound));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total, kThreads * kPosts);
  EXPECT_TRUE(in_order);
}

TEST(EventLoopTest, APostWakesALoopThatWaitsWithoutEnd) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  for (int i = 0; i < 200; ++i) {
    bool ran = false;
    std::thread other([&] { loop->Post([&] { ran = true; }); });
    EXPECT_TRUE(loop->RunUntil([&] { return ran; }, kBound));
    other.join();
  }
}

TEST(EventLoopTest, StopFromAnotherThreadEndsRun) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  std::thread other([&] { loop->Stop(); });
  loop->Run();
  other.join();
}

TEST(EventLoopTest, StopBeforeRunMakesRunReturnOnce) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  loop->Stop();
  loop->Run();
  bool ran = false;
  loop->Post([&] {
    ran = true;
    loop->Stop();
  });
  loop->Run();
  EXPECT_TRUE(ran);
}

TEST(EventLoopTest, RunUntilGivesUpAfterItsTimeout) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  const MonotonicTime start = loop->NowExact();
  EXPECT_FALSE(loop->RunUntil([] { return false; }, absl::Milliseconds(20)));
  EXPECT_GE(loop->NowExact() - start, absl::Milliseconds(20));
}

TEST(EventLoopTest, RunUntilAsksFirst) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  EXPECT_TRUE(loop->RunUntil([] { return true; }));
  EXPECT_EQ(loop->counters().turns, 0u);
}

TEST(EventLoopTest, TimersDoNotRunEarlyOnTheRealClock) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  const MonotonicTime deadline = loop->NowExact() + absl::Milliseconds(5);
  bool ran = false;
  Timer timer([&] { ran = true; });
  loop->ArmTimer(timer, deadline);
  ASSERT_TRUE(loop->RunUntil([&] { return ran; }, kBound));
  EXPECT_GE(loop->NowExact(), deadline);
}

TEST(EventLoopTest, DestroysWhatWasPostedAndHasNotRun) {
  auto alive = std::make_shared<int>(0);
  std::unique_ptr<EventLoop> loop = NewLoop();
  bool ran = false;
  loop->Post([alive, &ran] { ran = true; });
  EXPECT_EQ(alive.use_count(), 2);
  loop = nullptr;
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_FALSE(ran);
}

TEST(EventLoopTest, KnowsItsThread) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  EXPECT_TRUE(loop->InLoopThread());
  bool inside = false;
  bool outside = true;
  loop->Post([&] {
    inside = loop->InLoopThread();
    std::thread([&] { outside = loop->InLoopThread(); }).join();
  });
  loop->RunOnce(absl::ZeroDuration());
  EXPECT_TRUE(inside);
  EXPECT_FALSE(outside);
}

TEST(EventLoopTest, AnotherThreadIsNotItsOwnBetweenTurnsEither) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  std::atomic<bool> runs{false};
  std::function<void()> keep_turning = [&] {
    runs = true;
    loop->Post(keep_turning);
  };
  loop->Post(keep_turning);
  std::thread runner([&] { loop->Run(); });
  while (!runs) std::this_thread::yield();
  for (int i = 0; i < 10'000; ++i) ASSERT_FALSE(loop->InLoopThread());
  loop->Stop();
  runner.join();
  EXPECT_TRUE(loop->InLoopThread());
}

TEST(EventLoopDeathTest, RunningItInsideOneOfItsCallbacksIsABug) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  loop->Post([&] { loop->RunOnce(absl::ZeroDuration()); });
  EXPECT_DEATH(loop->RunOnce(absl::ZeroDuration()), "check failed");
}

TEST_F(IdleLoopTest, SleepsUntilTheNextTimerAndNoLonger) {
  Timer timer([] {});
  const MonotonicTime deadline = poller_->now + absl::Seconds(10);
  loop_.ArmTimer(timer, deadline);
  loop_.RunOnce(absl::Hours(1));
  ASSERT_EQ(poller_->waits, 1);
  EXPECT_GT(poller_->last_deadline, poller_->now);
  EXPECT_LE(poller_->last_deadline, deadline + absl::Milliseconds(1));
}

TEST_F(IdleLoopTest, SleepsWithoutEndWhenThereIsNothingToDo) {
  poller_->on_wait = [&] { loop_.Stop(); };
  loop_.Run();
  ASSERT_EQ(poller_->waits, 1);
  EXPECT_EQ(poller_->last_deadline, MonotonicTime::InfiniteFuture());
}

TEST_F(IdleLoopTest, RunsTimersByTheEnginesClock) {
  int ran = 0;
  Timer timer([&] { ++ran; });
  loop_.ArmTimer(timer, absl::Seconds(30));
  poller_->now = poller_->now + absl::Seconds(29);
  loop_.RunOnce(absl::ZeroDuration());
  EXPECT_EQ(ran, 0);
  poller_->now = poller_->now + absl::Seconds(2);
  loop_.RunOnce(absl::ZeroDuration());
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(loop_.counters().timers, 1u);
}

TEST_F(IdleLoopTest, ATimerArmedWhileTheLoopDoesNotRunCountsFromThen) {
  loop_.RunOnce(absl::ZeroDuration());
  poller_->now = poller_->now + absl::Hours(1);  // the program does something else
  bool ran = false;
  Timer timer([&] { ran = true; });
  loop_.ArmTimer(timer, absl::Seconds(30));
  loop_.RunOnce(absl::ZeroDuration());
  EXPECT_FALSE(ran);
  poller_->now = poller_->now + absl::Seconds(31);
  loop_.RunOnce(absl::ZeroDuration());
  EXPECT_TRUE(ran);
}

TEST_F(IdleLoopTest, ACancelledTimerDoesNotRun) {
  Timer timer([] { FAIL(); });
  loop_.ArmTimer(timer, absl::Seconds(1));
  loop_.CancelTimer(timer);
  poller_->now = poller_->now + absl::Seconds(2);
  loop_.RunOnce(absl::ZeroDuration());
}

TEST_F(IdleLoopTest, ABusyLoopIsNotWoken) {
  loop_.Post([&] {
    for (int i = 0; i < 100; ++i) loop_.Post([] {});
  });
  EXPECT_EQ(wakes_, 0);
  loop_.RunOnce(absl::ZeroDuration());
  loop_.RunOnce(absl::ZeroDuration());
  EXPECT_EQ(wakes_, 0);
  EXPECT_EQ(loop_.counters().posts, 101u);
}

TEST_F(IdleLoopTest, ManyPostsToASleepingLoopWakeItOnce) {
  poller_->on_wait = [&] {  // what other threads do while the loop sleeps
    for (int i = 0; i < 100; ++i) loop_.Post([] {});
  };
  loop_.RunOnce(absl::InfiniteDuration());
  EXPECT_EQ(wakes_, 1);
  EXPECT_EQ(loop_.counters().posts, 100u);
}

TEST_F(IdleLoopTest, DoesNotSleepOverWhatWasPostedBefore) {
  loop_.Post([] {});
  loop_.RunOnce(absl::InfiniteDuration());
  EXPECT_LT(poller_->last_deadline, poller_->now);
}

TEST_F(IdleLoopTest, WhatAPostPostsWaitsForTheNextTurn) {
  int ran = 0;
  std::function<void()> again = [&] {
    ++ran;
    loop_.Post(again);
  };
  loop_.Post(again);
  for (int turn = 1; turn <= 5; ++turn) {
    loop_.RunOnce(absl::InfiniteDuration());
    EXPECT_EQ(ran, turn);
  }
}

TEST_F(IdleLoopTest, DrainWithoutStreamsIsDoneInTheNextTurn) {
  bool done = false;
  loop_.Drain(absl::Seconds(5), [&] { done = true; });
  EXPECT_FALSE(done);
  loop_.RunOnce(absl::ZeroDuration());
  EXPECT_TRUE(done);
}

// Each look takes 10 us.
class BusyPollTest : public IdleLoopTest {
 protected:
  static constexpr absl::Duration kLook = absl::Microseconds(10);

  BusyPollTest() {
    poller_->runs = true;
    poller_->on_wait = [this] { Look(); };
    loop_.SetBusyPoll(100 * kLook);
  }
  void Look() {
    if (poller_->last_deadline == MonotonicTime()) {
      ++looks_;
      poller_->now += kLook;
    } else {
      ++sleeps_;
      poller_->now = std::min(poller_->last_deadline, poller_->now + absl::Hours(1));
    }
  }
  void Happen() {
    loop_.Post([] {});
    loop_.RunOnce(absl::ZeroDuration());
    looks_ = sleeps_ = 0;
  }

  int looks_ = 0;
  int sleeps_ = 0;
};

TEST_F(BusyPollTest, LooksForSoLongAfterSomethingHasHappenedAndThenSleeps) {
  loop_.RunOnce(absl::Seconds(1));
  EXPECT_EQ(looks_, 0) << "nothing has happened yet";
  EXPECT_EQ(sleeps_, 1);
  for (int i = 0; i < 2; ++i) {
    Happen();
    loop_.RunOnce(absl::Seconds(1));
    EXPECT_EQ(looks_, 100);
    EXPECT_EQ(sleeps_, 1);
    loop_.RunOnce(absl::Seconds(1));
    EXPECT_EQ(looks_, 100) << "an idle loop sleeps";
    EXPECT_EQ(sleeps_, 2);
  }
}

TEST_F(BusyPollTest, APostIsSeenWithoutBeingWokenBy) {
  Happen();
  bool ran = false;
  poller_->on_wait = [&] {
    Look();
    if (looks_ == 7) loop_.Post([&] { ran = true; });
  };
  loop_.RunOnce(absl::Seconds(1));
  EXPECT_TRUE(ran);
  EXPECT_EQ(looks_, 8) << "the last one takes what there is beside it";
  EXPECT_EQ(sleeps_, 0);
  EXPECT_EQ(wakes_.load(), 0);
}

TEST_F(BusyPollTest, TimersAndTimeoutsAreInTime) {
  Happen();
  bool ran = false;
  Timer timer([&] { ran = true; });
  loop_.ArmTimer(timer, 40 * kLook);
  while (!ran && looks_ < 1000) loop_.RunOnce(absl::Seconds(1));
  EXPECT_TRUE(ran);
  EXPECT_LE(looks_, 40 + 8) << "a resolution of the wheel";
  EXPECT_LE(poller_->now, timer.deadline() + 8 * kLook);

  const MonotonicTime begin = poller_->now;
  EXPECT_FALSE(loop_.RunUntil([] { return false; }, 20 * kLook));
  EXPECT_LE(poller_->now, begin + 22 * kLook);
}

TEST_F(BusyPollTest, ForEverIsEndedByStop) {
  loop_.SetBusyPoll(absl::InfiniteDuration());
  Happen();
  poller_->on_wait = [&] {
    Look();
    if (looks_ == 100'000) loop_.Post([&] { loop_.Stop(); });
  };
  loop_.Run();
  EXPECT_EQ(sleeps_, 0);
  EXPECT_EQ(looks_, 100'001);
}

TEST_F(BusyPollTest, ASimulatedClockIsWaitedForAsEver) {
  poller_->runs = false;
  loop_.SetBusyPoll(absl::InfiniteDuration());
  Happen();
  loop_.RunOnce(absl::Seconds(1));
  EXPECT_EQ(looks_, 0);
  EXPECT_EQ(sleeps_, 1);
}

TEST(EventLoopTest, ABusyLoopIsStoppedByAnotherThread) {
  std::unique_ptr<EventLoop> loop = NewLoop();
  loop->SetBusyPoll(absl::InfiniteDuration());
  std::latch busy(1);
  std::thread other([&] {
    busy.wait();
    loop->Stop();
  });
  loop->Post([&] { busy.count_down(); });
  loop->Run();
  other.join();
}

TEST_F(BusyPollTest, OfWhatWasForEverNothingIsLeft) {
  loop_.SetBusyPoll(absl::InfiniteDuration());
  Happen();
  loop_.SetBusyPoll(100 * kLook);
  loop_.RunOnce(absl::Seconds(1));
  EXPECT_EQ(looks_, 0);
  EXPECT_EQ(sleeps_, 1);
}

// Whether it sleeps, is about to, or looks.
TEST(EventLoopTest, ABusyLoopLosesNoPostAndNoStop) {
  for (const absl::Duration duration : {absl::Microseconds(1), absl::InfiniteDuration()}) {
    std::unique_ptr<EventLoop> loop = NewLoop();
    loop->SetBusyPoll(duration);
    int ran = 0;
    std::thread other([&] {
      for (int i = 0; i < 2'000; ++i) {
        loop->Post([&] { ++ran; });
        if (i % 16 == 0) std::this_thread::yield();
      }
      loop->Post([&] { loop->Stop(); });
    });
    loop->Run();
    other.join();
    EXPECT_EQ(ran, 2'000);
  }
}

}  // namespace
}  // namespace sluice
