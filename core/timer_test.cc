#include "sluice/core/timer.h"

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/monotonic_time.h"

namespace sluice {
namespace {

constexpr absl::Duration kResolution = TimerWheel::kResolution;
const int64_t kTick = absl::ToInt64Nanoseconds(kResolution);
constexpr MonotonicTime kNever = MonotonicTime::InfiniteFuture();

MonotonicTime At(int64_t nanoseconds) { return MonotonicTime::FromNanoseconds(nanoseconds); }

// A timer that appends its name to a log.
class Named : public TimerNode {
 public:
  Named(std::string name, std::vector<std::string>& log)
      : TimerNode(&Named::Run), name_(std::move(name)), log_(log) {}

 private:
  static void Run(TimerNode& node) {
    Named& self = static_cast<Named&>(node);
    self.log_.push_back(self.name_);
  }

  std::string name_;
  std::vector<std::string>& log_;
};

using Log = std::vector<std::string>;

TEST(TimerWheelTest, HeaderExample) {
  struct Connection {
    void Close(absl::Status why) { status = std::move(why); }
    absl::Status status;
  } connection;
  const MonotonicTime start;
  TimerWheel wheel(start);
  Timer idle([&] { connection.Close(absl::DeadlineExceededError("idle for 30s")); });
  wheel.Arm(idle, start + absl::Seconds(30));
  wheel.AdvanceTo(start + absl::Seconds(31));  // runs it
  EXPECT_EQ(connection.status, absl::DeadlineExceededError("idle for 30s"));
}

TEST(TimerNodeTest, HeaderExample) {
  const MonotonicTime start;
  struct Session : TimerNode {
    Session() : TimerNode([](TimerNode& node) { static_cast<Session&>(node).OnIdle(); }) {}
    void OnIdle() { idle = true; }
    bool idle = false;
  };
  TimerWheel wheel(start);
  Session session;
  wheel.Arm(session, start + absl::Seconds(30));
  wheel.AdvanceTo(start + absl::Seconds(31));
  EXPECT_TRUE(session.idle);
}

TEST(TimerNodeTest, IsSmall) {
  EXPECT_EQ(sizeof(TimerNode), 32u);
  EXPECT_EQ(sizeof(Timer), sizeof(TimerNode) + sizeof(absl::AnyInvocable<void()>));
}

TEST(TimerWheelTest, RunsATimerNeitherEarlyNorMoreThanOneResolutionLate) {
  for (int64_t start :
       {int64_t{0}, int64_t{1}, kTick - 1, kTick, int64_t{-5}, int64_t{123'456'789'012}}) {
    for (int64_t wait : {int64_t{1}, kTick - 1, kTick, kTick + 1, 255 * kTick, 256 * kTick,
                         257 * kTick, 65536 * kTick - 1, 65536 * kTick, int64_t{30'000'000'000}}) {
      Log log;
      TimerWheel wheel(At(start));
      Named timer("a", log);
      const MonotonicTime deadline = At(start + wait);
      wheel.Arm(timer, deadline);
      EXPECT_TRUE(timer.armed());
      EXPECT_EQ(timer.deadline(), deadline);
      EXPECT_EQ(wheel.AdvanceTo(deadline - absl::Nanoseconds(1)), 0u) << start << " + " << wait;
      EXPECT_EQ(wheel.AdvanceTo(deadline + kResolution), 1u) << start << " + " << wait;
      EXPECT_EQ(log, Log{"a"});
      EXPECT_FALSE(timer.armed());
      EXPECT_EQ(timer.deadline(), deadline);
    }
  }
}

TEST(TimerWheelTest, ADeadlineOnATickRunsExactlyThen) {
  Log log;
  TimerWheel wheel(At(5));
  Named timer("a", log);
  wheel.Arm(timer, At(700 * kTick));
  EXPECT_EQ(wheel.NextDeadline(), At(700 * kTick));
  EXPECT_EQ(wheel.AdvanceTo(At(700 * kTick - 1)), 0u);
  EXPECT_EQ(wheel.AdvanceTo(At(700 * kTick)), 1u);
}

TEST(TimerWheelTest, RunsInTheOrderOfDeadlinesAndOfArmingWithinATick) {
  Log log;
  TimerWheel wheel(At(0));
  Named late("late", log), first("first", log), second("second", log), third("third", log),
      early("early", log);
  const MonotonicTime tick = At(100'000 * kTick);
  wheel.Arm(late, tick + absl::Nanoseconds(1));
  wheel.Arm(first, tick - absl::Nanoseconds(1));  // far away now: a high level
  EXPECT_EQ(wheel.AdvanceTo(tick - 300 * kResolution), 0u);
  wheel.Arm(second, tick);  // nearer: a lower level
  EXPECT_EQ(wheel.AdvanceTo(tick - 3 * kResolution), 0u);
  wheel.Arm(third, tick - absl::Nanoseconds(2));  // the same tick again, with the earliest deadline
  wheel.Arm(early, tick - kResolution);
  EXPECT_EQ(wheel.AdvanceTo(tick + absl::Hours(1)), 5u);
  EXPECT_EQ(log, (Log{"early", "first", "second", "third", "late"}));
}

TEST(TimerWheelTest, ArmingAgainMovesToTheEndOfItsTick) {
  Log log;
  TimerWheel wheel(At(0));
  Named a("a", log), b("b", log);
  wheel.Arm(a, At(5 * kTick));
  wheel.Arm(b, At(5 * kTick));
  wheel.Arm(a, At(5 * kTick));
  EXPECT_EQ(wheel.size(), 2u);
  wheel.AdvanceTo(At(5 * kTick));
  EXPECT_EQ(log, (Log{"b", "a"}));
}

TEST(TimerWheelTest, ArmingAgainReplacesTheDeadlineBothWays) {
  Log log;
  TimerWheel wheel(At(0));
  Named timer("a", log);
  wheel.Arm(timer, At(5 * kTick));
  wheel.Arm(timer, At(1'000'000 * kTick));
  EXPECT_EQ(wheel.AdvanceTo(At(999'999 * kTick)), 0u);
  wheel.Arm(timer, At(2'000'000'000 * kTick));
  wheel.Arm(timer, At(1'000'001 * kTick));
  EXPECT_EQ(wheel.AdvanceTo(At(1'000'001 * kTick)), 1u);
}

TEST(TimerWheelTest, ACancelledTimerDoesNotRun) {
  Log log;
  TimerWheel wheel(At(0));
  Named a("a", log), b("b", log), c("c", log);
  for (Named* timer : {&a, &b, &c}) wheel.Arm(*timer, At(5 * kTick));
  wheel.Cancel(a);
  c.Cancel();
  c.Cancel();  // a second time: nothing
  EXPECT_FALSE(a.armed());
  EXPECT_EQ(wheel.size(), 1u);
  EXPECT_EQ(wheel.AdvanceTo(At(5 * kTick)), 1u);
  EXPECT_EQ(log, Log{"b"});
}

TEST(TimerWheelTest, DestroyingAnArmedTimerDisarmsIt) {
  Log log;
  TimerWheel wheel(At(0));
  {
    Named timer("a", log);
    wheel.Arm(timer, At(5 * kTick));
    EXPECT_EQ(wheel.size(), 1u);
  }
  EXPECT_EQ(wheel.size(), 0u);
  EXPECT_EQ(wheel.NextDeadline(), kNever);
  EXPECT_EQ(wheel.AdvanceTo(At(50 * kTick)), 0u);
}

TEST(TimerWheelTest, DestroyingTheWheelDisarmsItsTimers) {
  Log log;
  Named near("near", log), far("far", log), overdue("overdue", log), again("again", log);
  {
    TimerWheel wheel(At(100));
    wheel.Arm(near, At(5 * kTick));
    wheel.Arm(far, At(0) + absl::Hours(24 * 365 * 100));
    wheel.Arm(overdue, At(50));
    wheel.Arm(again, At(5 * kTick));
  }
  for (Named* timer : {&near, &far, &overdue, &again}) EXPECT_FALSE(timer->armed());
  TimerWheel other(At(0));
  other.Arm(again, At(1));
  EXPECT_EQ(other.AdvanceTo(At(kTick)), 1u);
  EXPECT_EQ(log, Log{"again"});
}

TEST(TimerWheelTest, ArmingTakesATimerFromAnotherWheel) {
  Log log;
  TimerWheel a(At(0)), b(At(0));
  Named timer("t", log);
  a.Arm(timer, At(kTick));
  b.Arm(timer, At(2 * kTick));
  EXPECT_EQ(a.size(), 0u);
  EXPECT_EQ(a.AdvanceTo(At(10 * kTick)), 0u);
  EXPECT_EQ(b.AdvanceTo(At(10 * kTick)), 1u);
}

TEST(TimerWheelTest, ADeadlineInThePastRunsAtTheNextAdvanceAndNotInsideArm) {
  Log log;
  TimerWheel wheel(At(10 * kTick + 500));
  Named past("past", log), present("present", log), same_tick("same tick", log);
  wheel.Arm(present, At(10 * kTick + 500));
  wheel.Arm(past, At(3));
  wheel.Arm(same_tick, At(10 * kTick + 400));
  EXPECT_TRUE(log.empty());
  EXPECT_EQ(wheel.NextDeadline(), At(10 * kTick + 500));
  EXPECT_EQ(wheel.AdvanceTo(At(10 * kTick + 500)), 3u) << "the clock did not even move";
  EXPECT_EQ(log, (Log{"present", "past", "same tick"}));
}

TEST(TimerWheelTest, WhatHasPassedRunsBeforeWhatIsJustDue) {
  Log log;
  TimerWheel wheel(At(10 * kTick));
  Named due("due", log), past("past", log);
  wheel.Arm(due, At(11 * kTick));
  wheel.Arm(past, At(kTick));
  wheel.AdvanceTo(At(12 * kTick));
  EXPECT_EQ(log, (Log{"past", "due"}));
}

TEST(TimerWheelTest, ACallbackThatArmsForNowRunsInALaterAdvance) {
  const MonotonicTime start = At(0);
  TimerWheel wheel(start);
  int runs = 0;
  std::optional<Timer> timer;
  MonotonicTime again = start;
  timer.emplace([&] {
    ++runs;
    wheel.Arm(*timer, again);
  });
  const MonotonicTime now = start + absl::Seconds(1);
  for (MonotonicTime deadline :
       {now, start, now - absl::Milliseconds(1), MonotonicTime::InfinitePast()}) {
    again = deadline;
    wheel.Arm(*timer, start);
    runs = 0;
    EXPECT_EQ(wheel.AdvanceTo(now), 1u);
    EXPECT_EQ(runs, 1);
    EXPECT_TRUE(timer->armed());
    EXPECT_EQ(wheel.AdvanceTo(now), 1u);
    EXPECT_EQ(runs, 2);
  }
}

TEST(TimerWheelTest, APeriodicTimerThatIsBehindRunsOnceAnAdvance) {
  TimerWheel wheel(At(0));
  int runs = 0;
  std::optional<Timer> timer;
  timer.emplace([&] {
    ++runs;
    wheel.Arm(*timer, timer->deadline() + absl::Milliseconds(1));
  });
  wheel.Arm(*timer, At(0) + absl::Milliseconds(1));
  EXPECT_EQ(wheel.AdvanceTo(At(0) + absl::Milliseconds(10)), 1u);
  EXPECT_EQ(wheel.AdvanceTo(At(0) + absl::Milliseconds(10)), 1u);
  EXPECT_EQ(runs, 2);
}

TEST(TimerWheelTest, CallbacksMayCancelAndDestroyOthersThatExpireInTheSameAdvance) {
  Log log;
  TimerWheel wheel(At(0));
  Named cancelled("cancelled", log), moved("moved", log), stays("stays", log), far("far", log);
  auto destroyed = std::make_unique<Named>("destroyed", log);
  Timer first([&] {
    log.push_back("first");
    cancelled.Cancel();
    wheel.Arm(moved, At(900 * kTick));
    destroyed.reset();
    far.Cancel();
  });
  wheel.Arm(first, At(5 * kTick));
  for (Named* timer : {&cancelled, &moved, destroyed.get(), &stays})
    wheel.Arm(*timer, At(5 * kTick));
  wheel.Arm(far, At(300 * kTick));
  EXPECT_EQ(wheel.AdvanceTo(At(500 * kTick)), 2u);
  EXPECT_EQ(log, (Log{"first", "stays"}));
  EXPECT_EQ(wheel.AdvanceTo(At(900 * kTick)), 1u);
  EXPECT_EQ(log.back(), "moved");
}

TEST(TimerTest, MayDestroyItselfInItsCallbackAndStillUseItsCaptures) {
  TimerWheel wheel(At(0));
  std::string seen;
  std::unique_ptr<Timer> timer;
  // Large enough that the closure is on the heap, where a use after free would show.
  auto text =
      std::make_unique<std::string>("a captured string that is too long for any small buffer");
  timer = std::make_unique<Timer>(
      [&seen, &timer, text = std::move(text), copy = std::string("and another one")] {
        timer.reset();
        seen = *text + " " + copy;
      });
  wheel.Arm(*timer, At(1));
  EXPECT_EQ(wheel.AdvanceTo(At(kTick)), 1u);
  EXPECT_EQ(timer, nullptr);
  EXPECT_EQ(seen, "a captured string that is too long for any small buffer and another one");
  EXPECT_EQ(wheel.size(), 0u);
}

TEST(TimerTest, MayArmAndThenDestroyItselfInItsCallback) {
  TimerWheel wheel(At(0));
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>([&] {
    wheel.Arm(*timer, At(3));
    timer.reset();
  });
  wheel.Arm(*timer, At(1));
  EXPECT_EQ(wheel.AdvanceTo(At(kTick)), 1u);
  EXPECT_EQ(wheel.size(), 0u);
  EXPECT_EQ(wheel.AdvanceTo(At(10 * kTick)), 0u);
}

TEST(TimerTest, KeepsItsClosureFromRunToRun) {
  TimerWheel wheel(At(0));
  int sum = 0;
  Timer timer([&sum, step = std::make_unique<int>(0)] { sum += ++*step; });
  for (int i = 1; i <= 3; ++i) {
    wheel.Arm(timer, At(i * kTick));
    wheel.AdvanceTo(At(i * kTick));
  }
  EXPECT_EQ(sum, 1 + 2 + 3);
}

TEST(TimerTest, ArmingAndRunningAllocateNothing) {
  TimerWheel wheel(At(0));
  int runs = 0;
  Timer timer([&runs, large = std::array<char, 100>()] { runs += 1 + large[0]; });
  const int64_t before = internal::CountAllocations().ever;
  for (int i = 1; i <= 1'000; ++i) {
    wheel.Arm(timer, At(i * 1'000 * kTick));
    wheel.AdvanceTo(At(i * 1'000 * kTick));
  }
  EXPECT_EQ(internal::CountAllocations().ever, before);
  EXPECT_EQ(runs, 1'000);
}

TEST(TimerWheelTest, NeverMeansDisarmed) {
  Log log;
  TimerWheel wheel(At(0));
  Named timer("a", log);
  wheel.Arm(timer, At(kTick));
  wheel.Arm(timer, kNever);
  EXPECT_FALSE(timer.armed());
  EXPECT_EQ(timer.deadline(), kNever);
  wheel.Arm(timer, At(std::numeric_limits<int64_t>::max() - 1));
  EXPECT_FALSE(timer.armed()) << "no tick comes after it";
  EXPECT_EQ(wheel.NextDeadline(), kNever);
}

TEST(TimerWheelTest, DeadlinesReachAsFarAsTheClock) {
  Log log;
  TimerWheel wheel(MonotonicTime::InfinitePast());
  Named years("years", log), last("last", log), first("first", log);
  const MonotonicTime last_tick = At((std::numeric_limits<int64_t>::max() / kTick) * kTick);
  wheel.Arm(last, last_tick);
  wheel.Arm(years, At(0) + absl::Hours(24 * 365 * 290));
  wheel.Arm(first,
            MonotonicTime::InfinitePast() + absl::Seconds(1));  // infinity absorbs: in the past
  EXPECT_EQ(wheel.AdvanceTo(MonotonicTime::InfinitePast()), 1u);
  EXPECT_EQ(wheel.AdvanceTo(At(0)), 0u);
  EXPECT_EQ(wheel.AdvanceTo(last_tick - absl::Nanoseconds(1)), 1u);
  EXPECT_EQ(wheel.NextDeadline(), last_tick);
  EXPECT_EQ(wheel.AdvanceTo(last_tick), 1u);
  EXPECT_EQ(log, (Log{"first", "years", "last"}));
}

TEST(TimerWheelTest, AdvancingToInfinityRunsAll) {
  Log log;
  TimerWheel wheel(At(0));
  Named a("a", log), b("b", log);
  wheel.Arm(b, At(0) + absl::Hours(24 * 365 * 200));
  wheel.Arm(a, At(0) + absl::Hours(1));
  EXPECT_EQ(wheel.AdvanceTo(kNever), 2u);
  EXPECT_EQ(log, (Log{"a", "b"}));
  wheel.Arm(a, At(5));
  EXPECT_EQ(wheel.AdvanceTo(At(6)), 1u);
}

TEST(TimerWheelTest, AClockThatStepsBackCountsAsTheLatestTime) {
  Log log;
  TimerWheel wheel(At(0));
  Named past("past", log), passed("passed", log), soon("soon", log);
  wheel.AdvanceTo(At(100 * kTick));
  wheel.Arm(past, At(50 * kTick));
  wheel.Arm(soon, At(101 * kTick));
  EXPECT_EQ(wheel.AdvanceTo(At(10 * kTick)), 1u);
  EXPECT_EQ(log, Log{"past"});
  wheel.Arm(passed, At(60 * kTick));
  EXPECT_EQ(wheel.NextDeadline(), At(100 * kTick));
  EXPECT_EQ(wheel.AdvanceTo(At(11 * kTick)), 1u);
  EXPECT_EQ(wheel.AdvanceTo(At(101 * kTick)), 1u);
  EXPECT_EQ(log, (Log{"past", "passed", "soon"}));
}

TEST(TimerWheelTest, ABigJumpRunsEverythingInOrder) {
  TimerWheel wheel(At(0));
  std::vector<std::unique_ptr<Named>> timers;
  Log log, expected;
  for (int bit = 46; bit >= 0; --bit) {
    timers.push_back(std::make_unique<Named>(std::to_string(bit), log));
    wheel.Arm(*timers.back(), At((int64_t{1} << bit) * kTick));
    expected.insert(expected.begin(), std::to_string(bit));
  }
  EXPECT_EQ(wheel.AdvanceTo(At(std::numeric_limits<int64_t>::max() - 1)), 47u);
  EXPECT_EQ(log, expected);
}

TEST(TimerWheelTest, NextDeadlineIsExactForALoneTimer) {
  Log log;
  TimerWheel wheel(At(77));
  Named timer("a", log);
  EXPECT_EQ(wheel.NextDeadline(), kNever);
  for (absl::Duration wait :
       {absl::Microseconds(1), absl::Milliseconds(17), absl::Seconds(30), absl::Hours(50)}) {
    wheel.Arm(timer, At(77) + wait);
    const MonotonicTime due = wheel.NextDeadline();
    EXPECT_GE(due, timer.deadline());
    EXPECT_LT(due, timer.deadline() + kResolution);
  }
  timer.Cancel();
  EXPECT_EQ(wheel.NextDeadline(), kNever);
}

// What a loop does: sleep until NextDeadline, advance, again. It must arrive, and not by counting
// ticks.
TEST(TimerWheelTest, SleepingUntilNextDeadlineArrivesInAFewSteps) {
  TimerWheel wheel(At(0));
  Log log;
  std::vector<std::unique_ptr<Named>> timers;
  for (int i = 0; i < 20; ++i) {
    timers.push_back(std::make_unique<Named>("a", log));
    wheel.Arm(*timers.back(), At(0) + absl::Hours(24 * 365) + i * kResolution);
  }
  int steps = 0;
  while (wheel.size() == 20) {
    const MonotonicTime next = wheel.NextDeadline();
    ASSERT_EQ(wheel.AdvanceTo(next - absl::Nanoseconds(1)), 0u);
    wheel.AdvanceTo(next);
    ASSERT_LE(++steps, 6) << "one for each level at most";
  }
  EXPECT_EQ(log.size(), 1u);
}

// TimerWheel against a sorted map, in a random world where callbacks arm, move, cancel and destroy.
class World {
 public:
  explicit World(uint32_t seed)
      : random_(seed), now_(At(RandomStart())), wheel_(now_), timers_(kTimers) {}

  void Run(int steps) {
    for (int step = 0; step < steps && !testing::Test::HasFailure(); ++step) {
      for (int i = Below(20); i > 0; --i) ChangeOne();
      Advance();
    }
  }

 private:
  static constexpr int kTimers = 1'000;

  struct Key {
    uint64_t tick;  // 0: overdue
    uint64_t sequence;
    auto operator<=>(const Key&) const = default;
  };

  struct ModelTimer : TimerNode {
    ModelTimer(World& the_world, int the_id)
        : TimerNode([](TimerNode& node) {
            ModelTimer& self = static_cast<ModelTimer&>(node);
            self.world.OnExpire(self.id);
          }),
          world(the_world),
          id(the_id) {}
    World& world;
    int id;
    std::optional<Key> key;
  };

  int Below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  int64_t RandomStart() { return Below(2) == 0 ? 0 : -static_cast<int64_t>(Random64() >> 4); }

  uint64_t Random64() { return (uint64_t{random_()} << 32) | random_(); }

  // Mostly near, sometimes in the past, sometimes at any distance: each order of magnitude has its
  // share.
  MonotonicTime RandomDeadline() {
    switch (Below(10)) {
      case 0:
        return now_ - absl::Nanoseconds(static_cast<int64_t>(Random64() >> (16 + Below(48))));
      case 1:
        return now_;
      case 2:  // the same few ticks again and again
        return At((now_.nanoseconds() / kTick + 1 + Below(4)) * kTick - Below(3));
      case 3:
        return Below(20) == 0 ? kNever : now_ + absl::Seconds(30);
      default:
        return now_ + absl::Nanoseconds(static_cast<int64_t>(Random64() >> (1 + Below(63))));
    }
  }

  void Arm(int id) {
    if (timers_[id] == nullptr) timers_[id] = std::make_unique<ModelTimer>(*this, id);
    const MonotonicTime deadline = RandomDeadline();
    Forget(id);
    wheel_.Arm(*timers_[id], deadline);
    const uint64_t nanoseconds =
        static_cast<uint64_t>(deadline.nanoseconds()) + (uint64_t{1} << 63);
    if (deadline <= now_) {
      Remember(id, {0, ++sequence_});
    } else if (nanoseconds <= std::numeric_limits<uint64_t>::max() - (kTick - 1)) {
      Remember(id, {(nanoseconds + kTick - 1) / kTick, ++sequence_});
    }
    ASSERT_EQ(timers_[id]->armed(), timers_[id]->key.has_value());
    ASSERT_EQ(timers_[id]->deadline(), deadline);
  }

  void Remember(int id, Key key) {
    timers_[id]->key = key;
    model_.emplace(key, id);
  }

  void Forget(int id) {
    if (timers_[id] == nullptr || !timers_[id]->key) return;
    model_.erase(*timers_[id]->key);
    timers_[id]->key.reset();
  }

  void ChangeOne() {
    const int id = Below(kTimers);
    switch (Below(8)) {
      case 0:
        Forget(id);
        if (timers_[id] != nullptr) wheel_.Cancel(*timers_[id]);
        break;
      case 1:
        Forget(id);
        timers_[id].reset();
        break;
      default:
        Arm(id);
    }
  }

  // The timer that must run next in the advance to now_, or the end of the map.
  std::multimap<Key, int>::iterator Next() {
    const uint64_t now_tick =
        (static_cast<uint64_t>(now_.nanoseconds()) + (uint64_t{1} << 63)) / kTick;
    auto next = model_.begin();
    // Overdue timers that were armed in this advance wait for the next one.
    if (next != model_.end() && next->first.tick == 0 && next->first.sequence > first_new_) {
      next = model_.lower_bound(Key{1, 0});
    }
    return next != model_.end() && next->first.tick <= now_tick ? next : model_.end();
  }

  void OnExpire(int id) {
    auto next = Next();
    ASSERT_TRUE(next != model_.end()) << "timer " << id << " ran, but none was due";
    ASSERT_EQ(next->second, id);
    ASSERT_FALSE(timers_[id]->armed());
    Forget(id);
    ++expired_;
    for (int i = Below(3); i > 0; --i) ChangeOne();
    if (Below(4) == 0) {
      Forget(id);
      timers_[id].reset();
    } else if (Below(2) == 0) {
      Arm(id);
    }
  }

  void Advance() {
    CheckNextDeadline();
    switch (Below(6)) {
      case 0:
        now_ += absl::Nanoseconds(static_cast<int64_t>(Random64() >> (20 + Below(44))));
        break;
      case 1:
        break;
      case 2: {
        const MonotonicTime next = wheel_.NextDeadline();
        if (next != kNever) now_ = next;
        break;
      }
      default:
        now_ += absl::Nanoseconds(Below(200'000));
    }
    first_new_ = sequence_;
    expired_ = 0;
    ASSERT_EQ(wheel_.AdvanceTo(now_), expired_);
    ASSERT_TRUE(Next() == model_.end()) << "timer " << Next()->second << " was due and did not run";
    if (Below(20) == 0) {
      ASSERT_EQ(wheel_.size(), model_.size());
    }
  }

  void CheckNextDeadline() {
    const MonotonicTime next = wheel_.NextDeadline();
    ASSERT_EQ(next == kNever, model_.empty());
    if (model_.empty()) return;
    if (model_.begin()->first.tick == 0) {
      ASSERT_EQ(next, now_);
    } else {
      ASSERT_GT(next, now_) << "a loop would spin";
      ASSERT_LE(static_cast<uint64_t>(next.nanoseconds()) + (uint64_t{1} << 63),
                model_.begin()->first.tick * kTick);
    }
  }

  std::mt19937 random_;
  MonotonicTime now_;
  TimerWheel wheel_;
  std::vector<std::unique_ptr<ModelTimer>> timers_;
  std::multimap<Key, int> model_;
  uint64_t sequence_ = 0;
  uint64_t first_new_ = 0;
  size_t expired_ = 0;
};

TEST(TimerWheelTest, BehavesAsASortedMapDoes) {
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World(seed).Run(2'000);
    if (HasFailure()) return;
  }
}

#if GTEST_HAS_DEATH_TEST
TEST(TimerWheelDeathTest, AdvancingInsideACallbackIsABug) {
  EXPECT_DEATH(
      {
        TimerWheel wheel(At(0));
        Timer timer([&] { wheel.AdvanceTo(At(5)); });
        wheel.Arm(timer, At(0));
        wheel.AdvanceTo(At(0));
      },
      "check failed: !advancing_");
}
#endif

}  // namespace
}  // namespace sluice
