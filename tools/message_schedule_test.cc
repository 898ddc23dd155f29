#include "sluice/tools/message_schedule.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/monotonic_time.h"

namespace sluice::tools {
namespace {

const MonotonicTime kStart = MonotonicTime::FromNanoseconds(123'456'789);

MessageSchedule Schedule(double per_second, double phase = 0) {
  MessageSchedule schedule(per_second, phase);
  schedule.Begin(kStart);
  return schedule;
}

TEST(MessageScheduleTest, TheFirstIsDueAtOnceAndTheOthersEvenlySpaced) {
  const MessageSchedule schedule = Schedule(8);
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(schedule.DueAt(i) - kStart, static_cast<double>(i) * absl::Milliseconds(125));
  }
}

TEST(MessageScheduleTest, RatesBelowOneASecond) {
  const MessageSchedule schedule = Schedule(0.5);
  EXPECT_EQ(schedule.DueBy(kStart), 1u);
  EXPECT_EQ(schedule.DueBy(kStart + absl::Milliseconds(1999)), 1u);
  EXPECT_EQ(schedule.DueBy(kStart + absl::Seconds(2)), 2u);
}

TEST(MessageScheduleTest, WhatIsDueAtATimeWasDueByThen) {
  for (const double rate : {0.001, 3.0, 7919.0, 999'983.0, 1e6}) {
    for (const double phase : {0.0, 0.25, 0.999}) {
      SCOPED_TRACE(absl::StrCat(rate, " ", phase));
      const MessageSchedule schedule = Schedule(rate, phase);
      for (const uint64_t index :
           {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{1'000'003}, uint64_t{10'000'000'019}}) {
        if (static_cast<double>(index) / rate > 1e6) continue;
        const MonotonicTime due = schedule.DueAt(index);
        EXPECT_EQ(schedule.DueBy(due), index + 1);
        EXPECT_EQ(schedule.DueBy(due - absl::Nanoseconds(1)), index);
      }
    }
  }
}

TEST(MessageScheduleTest, TheRateIsExactInTheLongRun) {
  const MessageSchedule schedule = Schedule(999'983);
  EXPECT_EQ(schedule.DueBy(kStart + absl::Hours(24) - absl::Nanoseconds(1)),
            uint64_t{999'983} * 24 * 3600);
}

TEST(MessageScheduleTest, NothingIsDueBeforeItBegins) {
  EXPECT_EQ(Schedule(1e6).DueBy(kStart - absl::Nanoseconds(1)), 0u);
  EXPECT_EQ(Schedule(10, 0.5).DueBy(kStart), 0u);
}

TEST(MessageScheduleTest, PhasesInterleaveTheMessagesOfWorkers) {
  const MessageSchedule whole = Schedule(1000);
  const MessageSchedule even = Schedule(500, 0);
  const MessageSchedule odd = Schedule(500, 0.5);
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(even.DueAt(i), whole.DueAt(2 * i));
    EXPECT_EQ(odd.DueAt(i), whole.DueAt(2 * i + 1));
  }
}

}  // namespace
}  // namespace sluice::tools
