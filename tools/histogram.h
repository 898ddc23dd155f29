// Histogram counts durations, from nanoseconds to hours, in fixed memory: values below 256 ns
// exactly, longer ones in buckets whose width is at most 1/128 of the value (the log-linear layout
// of HdrHistogram). What it reports is therefore within 0.4% of a value that was recorded. It keeps
// no samples and no order.
//
// Example:
//   Histogram latency;
//   latency.Record(absl::Microseconds(12));
//   latency.Quantile(0.99);                   // the 99th percentile
//   total.Merge(latency);                     // of another thread, when that has ended
//   latency.Since(a_second_ago).Quantile(0.99);
//
// Thread-compatible. Takes 37 KiB. Longer values than kMax count as kMax in a bucket; max() and
// mean() know them exactly.
#ifndef SLUICE_TOOLS_HISTOGRAM_H_
#define SLUICE_TOOLS_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace sluice::tools {

class Histogram {
 public:
  Histogram();

  // Negative values count as 0.
  void Record(absl::Duration value) { RecordNanoseconds(absl::ToInt64Nanoseconds(value)); }
  void RecordNanoseconds(int64_t value);

  void Merge(const Histogram& other);

  // What was recorded since it was `earlier`; min() and max() are then near, as quantiles are.
  Histogram Since(const Histogram& earlier) const;

  uint64_t count() const { return count_; }

  // All are zero while the histogram is empty.
  absl::Duration min() const;
  absl::Duration max() const;
  absl::Duration mean() const;

  // The smallest value that is at least as large as a fraction `q` of all recorded ones; q is in
  // [0, 1].
  absl::Duration Quantile(double q) const;

  // How many recorded values are in [from, to), where a bucket that straddles a border counts by
  // its middle.
  uint64_t CountBetween(absl::Duration from, absl::Duration to) const;

  static constexpr absl::Duration kMax = absl::Nanoseconds((int64_t{1} << 43) - 1);  // 2 h 26 min

 private:
  static size_t BucketOf(int64_t value);
  static int64_t MiddleOf(size_t bucket);

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  int64_t min_ = 0;
  int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_HISTOGRAM_H_
