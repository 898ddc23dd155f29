#include "sluice/tools/histogram.h"

#include <algorithm>
#include <cmath>

#include "absl/numeric/bits.h"

namespace sluice::tools {
namespace {

// A value keeps its kSubBits + 1 highest bits: below 2^(kSubBits + 1) that is all of it, above each
// octave has 2^kSubBits buckets.
constexpr int kSubBits = 7;
constexpr int64_t kSubBuckets = int64_t{1} << kSubBits;
constexpr int kValueBits = 43;
constexpr size_t kBuckets = (kValueBits - kSubBits + 1) * kSubBuckets;
constexpr int64_t kMaxNanoseconds = (int64_t{1} << kValueBits) - 1;

}  // namespace

Histogram::Histogram() : counts_(kBuckets) {}

size_t Histogram::BucketOf(int64_t value) {
  if (value < 2 * kSubBuckets) return static_cast<size_t>(value);
  const int shift = absl::bit_width(static_cast<uint64_t>(value)) - (kSubBits + 1);
  return static_cast<size_t>(shift * kSubBuckets + (value >> shift));
}

int64_t Histogram::MiddleOf(size_t bucket) {
  const int64_t index = static_cast<int64_t>(bucket);
  if (index < 2 * kSubBuckets) return index;
  const int64_t shift = index / kSubBuckets - 1;
  const int64_t low = (index - shift * kSubBuckets) << shift;
  return low + ((int64_t{1} << shift) - 1) / 2;
}

void Histogram::RecordNanoseconds(int64_t value) {
  value = std::max<int64_t>(value, 0);
  ++counts_[BucketOf(std::min(value, kMaxNanoseconds))];
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
  ++count_;
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) return;
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  count_ += other.count_;
}

Histogram Histogram::Since(const Histogram& earlier) const {
  Histogram recent;
  for (size_t i = 0; i < kBuckets; ++i) {
    recent.counts_[i] = counts_[i] - earlier.counts_[i];
    if (recent.counts_[i] == 0) continue;
    const int64_t middle = std::clamp(MiddleOf(i), min_, max_);
    if (recent.count_ == 0) recent.min_ = middle;
    recent.max_ = middle;
    recent.count_ += recent.counts_[i];
  }
  recent.sum_ = recent.count_ == 0 ? 0 : sum_ - earlier.sum_;
  return recent;
}

absl::Duration Histogram::min() const { return absl::Nanoseconds(min_); }

absl::Duration Histogram::max() const { return absl::Nanoseconds(max_); }

absl::Duration Histogram::mean() const {
  return count_ == 0 ? absl::ZeroDuration() : absl::Nanoseconds(sum_ / static_cast<double>(count_));
}

absl::Duration Histogram::Quantile(double q) const {
  if (count_ == 0) return absl::ZeroDuration();
  const double wanted = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, count_);
  if (rank == count_) return max();
  uint64_t seen = 0;
  size_t bucket = 0;
  while ((seen += counts_[bucket]) < rank) ++bucket;
  return absl::Nanoseconds(std::clamp(MiddleOf(bucket), min_, max_));
}

uint64_t Histogram::CountBetween(absl::Duration from, absl::Duration to) const {
  uint64_t count = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    if (counts_[i] == 0) continue;
    const absl::Duration middle = absl::Nanoseconds(std::clamp(MiddleOf(i), min_, max_));
    if (middle >= from && middle < to) count += counts_[i];
  }
  return count;
}

}  // namespace sluice::tools
