#include "sluice/tools/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

int64_t Nanoseconds(absl::Duration duration) { return absl::ToInt64Nanoseconds(duration); }

// The definition that Quantile approximates, on the samples themselves.
int64_t ExactQuantile(const std::vector<int64_t>& sorted, double q) {
  const double rank = std::max(1.0, std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[static_cast<size_t>(rank) - 1];
}

TEST(HistogramTest, HeaderExample) {
  Histogram latency;
  latency.Record(absl::Microseconds(12));
  EXPECT_EQ(latency.Quantile(0.99), absl::Microseconds(12));
  Histogram total;
  total.Merge(latency);
  EXPECT_EQ(total.count(), 1u);
}

TEST(HistogramTest, EmptyReportsZeros) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.min(), absl::ZeroDuration());
  EXPECT_EQ(histogram.max(), absl::ZeroDuration());
  EXPECT_EQ(histogram.mean(), absl::ZeroDuration());
  EXPECT_EQ(histogram.Quantile(0.5), absl::ZeroDuration());
  EXPECT_EQ(histogram.CountBetween(absl::ZeroDuration(), absl::InfiniteDuration()), 0u);
}

TEST(HistogramTest, SmallValuesAreExact) {
  Histogram histogram;
  for (int64_t value = 0; value < 256; ++value) histogram.RecordNanoseconds(value);
  for (int64_t value = 0; value < 256; ++value) {
    EXPECT_EQ(Nanoseconds(histogram.Quantile(static_cast<double>(value + 1) / 256)), value);
  }
}

TEST(HistogramTest, EveryMagnitudeIsWithinFourTenthsOfAPercent) {
  std::mt19937_64 random(1);
  for (int bits = 0; bits < 43; ++bits) {
    for (int i = 0; i < 200; ++i) {
      const int64_t low = int64_t{1} << bits;
      const int64_t value = low + static_cast<int64_t>(random() % static_cast<uint64_t>(low));
      Histogram histogram;
      histogram.RecordNanoseconds(0);
      histogram.RecordNanoseconds(value);
      histogram.Record(absl::Hours(3));
      histogram.Record(absl::Hours(3));
      EXPECT_NEAR(static_cast<double>(Nanoseconds(histogram.Quantile(0.5))),
                  static_cast<double>(value), 0.004 * static_cast<double>(value));
    }
  }
}

TEST(HistogramTest, QuantilesAgreeWithSortedSamples) {
  std::mt19937_64 random(2);
  std::lognormal_distribution<double> distribution(11, 1.5);
  Histogram histogram;
  std::vector<int64_t> samples;
  for (int i = 0; i < 50'000; ++i) {
    samples.push_back(static_cast<int64_t>(distribution(random)));
    histogram.RecordNanoseconds(samples.back());
  }
  std::sort(samples.begin(), samples.end());
  for (double q : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const double exact = static_cast<double>(ExactQuantile(samples, q));
    EXPECT_NEAR(static_cast<double>(Nanoseconds(histogram.Quantile(q))), exact, 0.01 * exact) << q;
  }
  double sum = 0;
  for (int64_t sample : samples) sum += static_cast<double>(sample);
  EXPECT_NEAR(static_cast<double>(Nanoseconds(histogram.mean())), sum / 50'000, 1);
  EXPECT_EQ(Nanoseconds(histogram.min()), samples.front());
  EXPECT_EQ(Nanoseconds(histogram.max()), samples.back());
}

TEST(HistogramTest, QuantilesNeverLeaveWhatWasRecorded) {
  Histogram histogram;
  for (int i = 0; i < 3; ++i) histogram.RecordNanoseconds(1'000'003);
  for (double q : {-1.0, 0.0, 0.5, 1.0, 2.0})
    EXPECT_EQ(Nanoseconds(histogram.Quantile(q)), 1'000'003);
}

TEST(HistogramTest, MergeIsTheSameAsRecordingAllInOne) {
  std::mt19937_64 random(3);
  Histogram parts[2], whole, merged;
  for (int i = 0; i < 10'000; ++i) {
    const int64_t value = static_cast<int64_t>(random() >> (random() % 40 + 21));
    parts[i % 2].RecordNanoseconds(value);
    whole.RecordNanoseconds(value);
  }
  merged.Merge(parts[0]);
  merged.Merge(Histogram());
  merged.Merge(parts[1]);
  EXPECT_EQ(merged.count(), whole.count());
  EXPECT_EQ(merged.min(), whole.min());
  EXPECT_EQ(merged.max(), whole.max());
  EXPECT_NEAR(absl::FDivDuration(merged.mean(), whole.mean()), 1, 1e-9);
  for (double q = 0; q <= 1; q += 0.01) EXPECT_EQ(merged.Quantile(q), whole.Quantile(q)) << q;
}

TEST(HistogramTest, ValuesBeyondItsRangeKeepTheirMaximum) {
  Histogram histogram;
  histogram.Record(absl::Hours(30));
  histogram.Record(absl::Hours(31));
  histogram.RecordNanoseconds(-5);
  EXPECT_EQ(histogram.min(), absl::ZeroDuration());
  EXPECT_EQ(histogram.max(), absl::Hours(31));
  EXPECT_EQ(histogram.Quantile(1), absl::Hours(31));
  EXPECT_GE(histogram.Quantile(0.5), Histogram::kMax * 0.99);
}

TEST(HistogramTest, CountBetweenPartitionsTheValues) {
  Histogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.Record(absl::Microseconds(i));
  const absl::Duration border = absl::Microseconds(250) + absl::Nanoseconds(500);
  const uint64_t below = histogram.CountBetween(absl::ZeroDuration(), border);
  const uint64_t above = histogram.CountBetween(border, absl::InfiniteDuration());
  EXPECT_EQ(below + above, 1000u);
  EXPECT_NEAR(static_cast<double>(below), 250, 2);
}

TEST(HistogramTest, SinceIsWhatWasRecordedAfterwards) {
  Histogram histogram;
  histogram.Record(absl::Nanoseconds(5));
  histogram.Record(absl::Milliseconds(5));
  const Histogram earlier = histogram;
  EXPECT_EQ(histogram.Since(earlier).count(), 0u);
  EXPECT_EQ(histogram.Since(earlier).max(), absl::ZeroDuration());
  histogram.Record(absl::Nanoseconds(7));
  histogram.Record(absl::Nanoseconds(9));
  const Histogram recent = histogram.Since(earlier);
  EXPECT_EQ(recent.count(), 2u);
  EXPECT_EQ(recent.min(), absl::Nanoseconds(7));
  EXPECT_EQ(recent.max(), absl::Nanoseconds(9));
  EXPECT_EQ(recent.mean(), absl::Nanoseconds(8));
  // Of what it was made from it knows the buckets.
  EXPECT_NEAR(absl::ToDoubleMilliseconds(histogram.Since(Histogram()).max()), 5, 0.05);
}

}  // namespace
}  // namespace sluice::tools
