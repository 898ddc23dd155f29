#include "sluice/tools/load_series.h"

#include <unistd.h>

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/process_meter.h"

namespace sluice::tools {
namespace {

TEST(LoadSeriesTest, EachSampleHasWhatCameInItsTime) {
  LoadSeries series;
  Histogram latency;
  series.Add(absl::ZeroDuration(), latency);
  latency.Record(absl::Milliseconds(1));
  series.Add(absl::Seconds(1), latency);
  for (int i = 0; i < 3; ++i) latency.Record(absl::Milliseconds(7));
  series.Add(absl::Seconds(3), latency);
  ASSERT_EQ(series.samples().size(), 2u);
  EXPECT_EQ(series.samples()[0].from, absl::ZeroDuration());
  EXPECT_EQ(series.samples()[0].to, absl::Seconds(1));
  EXPECT_EQ(series.samples()[0].per_second(), 1);
  EXPECT_EQ(series.samples()[1].per_second(), 1.5);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(series.samples()[1].latency.Quantile(0.5)), 7, 0.1);
  EXPECT_FALSE(series.usage().has_value());
}

TEST(LoadSeriesTest, WhatCameBeforeItWasToldIsInTheFirstSample) {
  LoadSeries series;
  Histogram latency;
  latency.Record(absl::Milliseconds(1));
  series.Add(-absl::Seconds(1), Histogram());
  series.Add(absl::Milliseconds(50), latency);
  latency.Record(absl::Milliseconds(1));
  series.Add(absl::Seconds(1), latency);
  EXPECT_EQ(series.samples()[0].per_second(), 2);
}

TEST(LoadSeriesTest, ALongRunHasLongerSamplesAndLosesNothing) {
  LoadSeries series;
  Histogram latency;
  series.Add(absl::ZeroDuration(), latency);
  for (int i = 1; i <= 100'000; ++i) {
    latency.Record(absl::Milliseconds(1));
    series.Add(i * absl::Milliseconds(100), latency);
  }
  EXPECT_LT(series.samples().size(), LoadSeries::kMaxSamples);
  EXPECT_GE(series.samples().size(), LoadSeries::kMaxSamples / 2);
  uint64_t count = 0;
  absl::Duration end;
  for (const LoadSeries::Sample& sample : series.samples()) {
    EXPECT_EQ(sample.from, end);
    EXPECT_NEAR(sample.per_second(), 10, 0.001);
    end = sample.to;
    count += sample.latency.count();
  }
  EXPECT_GE(count, 99'000u);
}

TEST(LoadSeriesTest, AProcessIsLookedAt) {
  LoadSeries series(*ProcessMeter::Attach(getpid()));
  Histogram latency;
  latency.Record(absl::Milliseconds(1));
  series.Add(absl::ZeroDuration(), latency);
  for (int i = 1; i <= 300; ++i) {
    latency.Record(absl::Milliseconds(1));
    series.Add(i * absl::Seconds(1), latency);
  }
  const std::optional<MeasuredUsage> usage = series.usage();
  ASSERT_TRUE(usage.has_value()) << series.meter_status();
  EXPECT_EQ(usage->messages, 300u);
  EXPECT_EQ(usage->time, absl::Seconds(300));
  EXPECT_GT(usage->anonymous_bytes, 0u);
  EXPECT_GE(usage->cpu_per_message(), absl::ZeroDuration());
  EXPECT_TRUE(series.samples()[0].used.has_value());
}

}  // namespace
}  // namespace sluice::tools
