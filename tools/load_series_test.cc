#include "sluice/tools/load_series.h"

#include <unistd.h>

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tools/fake_proc.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/process_meter.h"

namespace sluice::tools {
namespace {

// A series that has begun.
class LoadSeriesTest : public testing::Test {
 protected:
  LoadSeriesTest() { series_.Add(absl::ZeroDuration(), latency_); }

  // One more answer has come.
  void Answer() { latency_.Record(absl::Milliseconds(1)); }

  LoadSeries series_;
  Histogram latency_;
};

TEST_F(LoadSeriesTest, EachSampleHasWhatCameInItsTime) {
  Answer();
  series_.Add(absl::Seconds(1), latency_);
  for (int i = 0; i < 3; ++i) latency_.Record(absl::Milliseconds(7));
  series_.Add(absl::Seconds(3), latency_);
  ASSERT_EQ(series_.samples().size(), 2u);
  EXPECT_EQ(series_.samples()[0].from, absl::ZeroDuration());
  EXPECT_EQ(series_.samples()[0].to, absl::Seconds(1));
  EXPECT_EQ(series_.samples()[0].per_second(), 1);
  EXPECT_EQ(series_.samples()[1].per_second(), 1.5);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(series_.samples()[1].latency.Quantile(0.5)), 7, 0.1);
  EXPECT_FALSE(series_.usage().has_value());
}

TEST_F(LoadSeriesTest, ALongRunHasLongerSamplesAndLosesNothing) {
  for (int i = 1; i <= 100'000; ++i) {
    Answer();
    series_.Add(i * absl::Milliseconds(100), latency_);
  }
  EXPECT_LT(series_.samples().size(), LoadSeries::kMaxSamples);
  EXPECT_GE(series_.samples().size(), LoadSeries::kMaxSamples / 2);
  uint64_t count = 0;
  absl::Duration end;
  for (const LoadSeries::Sample& sample : series_.samples()) {
    EXPECT_EQ(sample.from, end);
    EXPECT_NEAR(sample.per_second(), 10, 0.001);
    end = sample.to;
    count += sample.latency.count();
  }
  EXPECT_GE(count, 99'000u);
}

TEST_F(LoadSeriesTest, TheEndIsNotTooSoon) {
  Answer();
  series_.Add(absl::Seconds(1), latency_);
  Answer();
  series_.Add(absl::Milliseconds(1050), latency_);
  EXPECT_EQ(series_.samples()[0].to, absl::Seconds(1));
  series_.End(absl::Milliseconds(1060), latency_);
  ASSERT_EQ(series_.samples().size(), 1u);
  EXPECT_EQ(series_.samples()[0].to, absl::Milliseconds(1060));
  EXPECT_EQ(series_.samples()[0].latency.count(), 2u);
}

TEST_F(LoadSeriesTest, AnEndAfterAWhileIsASample) {
  Answer();
  series_.Add(absl::Seconds(1), latency_);
  series_.End(absl::Seconds(2), latency_);
  EXPECT_EQ(series_.samples().size(), 2u);
}

TEST_F(LoadSeriesTest, AShortRunIsOneSample) {
  Answer();
  series_.End(absl::Milliseconds(10), latency_);
  ASSERT_EQ(series_.samples().size(), 1u);
  EXPECT_EQ(series_.samples()[0].per_second(), 100);
}

TEST(SeriesOfAWarmUpTest, WhatCameBeforeItWasToldIsInTheFirstSample) {
  LoadSeries series;
  Histogram latency;
  latency.Record(absl::Milliseconds(1));
  series.Add(-absl::Seconds(1), Histogram());
  series.Add(absl::Milliseconds(50), latency);
  latency.Record(absl::Milliseconds(1));
  series.Add(absl::Seconds(1), latency);
  EXPECT_EQ(series.samples()[0].per_second(), 2);
}

TEST(SeriesOfAWarmUpTest, AWarmUpThatIsCutShortHasNoSample) {
  LoadSeries series;
  series.Add(-absl::Seconds(2), Histogram());
  series.End(-absl::Seconds(1), Histogram());
  EXPECT_TRUE(series.samples().empty());
}

class ProcessSeriesTest : public testing::Test {
 protected:
  static absl::Duration Ticks(int ticks) {
    return absl::Seconds(1) * ticks / static_cast<int64_t>(sysconf(_SC_CLK_TCK));
  }

  FakeProc proc_;
  LoadSeries series_{*ProcessMeter::Attach(FakeProc::kPid, proc_.path())};
  Histogram latency_;
};

TEST_F(ProcessSeriesTest, ASampleHasWhatWasUsedInItsTime) {
  series_.Add(absl::ZeroDuration(), latency_);
  proc_.WriteStat({.user = 170, .system = 55});
  latency_.Record(absl::Milliseconds(1));
  series_.Add(absl::Seconds(1), latency_);
  proc_.WriteStat({.user = 171, .system = 85});
  latency_.Record(absl::Milliseconds(1));
  series_.End(absl::Seconds(3), latency_);
  ASSERT_EQ(series_.samples().size(), 2u);
  EXPECT_EQ(series_.samples()[0].used->user, Ticks(20));
  EXPECT_EQ(series_.samples()[0].used->system, Ticks(5));
  EXPECT_EQ(series_.samples()[1].used->user, Ticks(1));
  EXPECT_EQ(series_.samples()[1].used->system, Ticks(30));
  const std::optional<MeasuredUsage> usage = series_.usage();
  ASSERT_TRUE(usage.has_value()) << series_.meter_status();
  EXPECT_EQ(usage->user, Ticks(21));
  EXPECT_EQ(usage->system, Ticks(35));
  EXPECT_EQ(usage->time, absl::Seconds(3));
  EXPECT_EQ(usage->messages, 2u);
  EXPECT_EQ(usage->cpu_per_message(), Ticks(28));
}

TEST_F(ProcessSeriesTest, MemoryIsReadExactlyAtTheEndOnly) {
  series_.Add(absl::ZeroDuration(), latency_);
  series_.Add(absl::Seconds(1), latency_);
  EXPECT_EQ(series_.samples()[0].used->anonymous_bytes, 1000u * 1024);
  series_.End(absl::Seconds(2), latency_);
  EXPECT_EQ(series_.samples()[1].used->anonymous_bytes, 1004u * 1024);
  EXPECT_EQ(series_.usage()->anonymous_bytes, 1004u * 1024);
  EXPECT_EQ(series_.usage()->peak_bytes, 3000u * 1024);
}

TEST_F(ProcessSeriesTest, WhatIsUsedCountsFromWhenItWasFirstLookedAt) {
  series_.Add(-absl::Seconds(1), latency_);
  proc_.WriteStat({.user = 1000});
  series_.Add(absl::Milliseconds(60), latency_);
  proc_.WriteStat({.user = 1010});
  series_.Add(absl::Milliseconds(160), latency_);
  EXPECT_EQ(series_.samples()[0].from, absl::ZeroDuration());
  const std::optional<MeasuredUsage> usage = series_.usage();
  ASSERT_TRUE(usage.has_value()) << series_.meter_status();
  EXPECT_EQ(usage->from, absl::Milliseconds(60));
  EXPECT_EQ(usage->time, absl::Milliseconds(100));
  EXPECT_EQ(usage->user, Ticks(10));
}

TEST_F(ProcessSeriesTest, LongerSamplesLoseNothingThatWasUsed) {
  series_.Add(absl::ZeroDuration(), latency_);
  for (int i = 1; i <= 300; ++i) {
    latency_.Record(absl::Milliseconds(1));
    proc_.WriteStat({.user = 150 + i});
    series_.Add(i * absl::Seconds(1), latency_);
  }
  absl::Duration used;
  for (const LoadSeries::Sample& sample : series_.samples()) used += sample.used->cpu();
  EXPECT_EQ(used, Ticks(300));
  EXPECT_EQ(series_.usage()->user, Ticks(300));
  EXPECT_EQ(series_.usage()->messages, 300u);
}

TEST_F(ProcessSeriesTest, ForOneSampleNothingIsToldBetweenTheEnds) {
  LoadSeries whole(*ProcessMeter::Attach(FakeProc::kPid, proc_.path()), /*over_time=*/false);
  EXPECT_FALSE(whole.Wants(-absl::Seconds(1)));
  EXPECT_TRUE(whole.Wants(absl::ZeroDuration()));
  whole.Add(absl::ZeroDuration(), latency_);
  latency_.Record(absl::Milliseconds(1));
  proc_.WriteStat({.user = 170});
  EXPECT_FALSE(whole.Wants(absl::Hours(1)));
  whole.Add(absl::Hours(1), latency_);
  latency_.Record(absl::Milliseconds(1));
  whole.End(absl::Hours(2), latency_);
  ASSERT_EQ(whole.samples().size(), 1u);
  EXPECT_EQ(whole.samples()[0].to, absl::Hours(2));
  EXPECT_EQ(whole.samples()[0].latency.count(), 2u);
  EXPECT_EQ(whole.usage()->user, Ticks(20));
  EXPECT_EQ(whole.usage()->messages, 2u);
}

}  // namespace
}  // namespace sluice::tools
