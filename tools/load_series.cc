#include "sluice/tools/load_series.h"

#include <utility>

namespace sluice::tools {
namespace {

// Processor time from `before` on; memory as it is.
std::optional<ProcessUsage> Since(const std::optional<ProcessUsage>& before,
                                  const std::optional<ProcessUsage>& now) {
  if (!before.has_value() || !now.has_value()) return std::nullopt;
  ProcessUsage used = *now;
  used.user -= before->user;
  used.system -= before->system;
  return used;
}

// Makes one sample of two that follow each other.
void Extend(LoadSeries::Sample& sample, const LoadSeries::Sample& next) {
  sample.to = next.to;
  sample.latency.Merge(next.latency);
  if (!sample.used.has_value() || !next.used.has_value()) return sample.used.reset();
  const ProcessUsage before = *sample.used;
  sample.used = next.used;
  sample.used->user += before.user;
  sample.used->system += before.system;
}

}  // namespace

void LoadSeries::Begin(absl::Duration at, const Histogram& latency) {
  begun_ = true;
  began_at_ = at;
  began_count_ = latency.count();
  began_usage_ = last_usage_ = ReadMeter(&ProcessMeter::Read);
}

void LoadSeries::Add(absl::Duration at, const Histogram& latency) {
  if (!Wants(at)) return;
  if (!begun_) return Begin(at, latency);
  Append(at, latency, &ProcessMeter::Read);
}

bool LoadSeries::Wants(absl::Duration at) const {
  if (!begun_) return at >= absl::ZeroDuration();
  return over_time_ && at - last_at_ >= shortest_;
}

void LoadSeries::End(absl::Duration at, const Histogram& latency) {
  if (at > last_at_) Append(at, latency, &ProcessMeter::ReadExactly);
}

void LoadSeries::Append(absl::Duration at, const Histogram& latency, Read read) {
  const std::optional<ProcessUsage> usage = ReadMeter(read);
  Sample sample = {.from = last_at_,
                   .to = at,
                   .latency = latency.Since(last_latency_),
                   .used = Since(last_usage_, usage)};
  if (at - last_at_ < shortest_ && !samples_.empty()) {
    Extend(samples_.back(), sample);
  } else {
    samples_.push_back(std::move(sample));
  }
  last_at_ = at;
  last_latency_ = latency;
  last_usage_ = usage;
  if (samples_.size() == kMaxSamples) HalveSamples();
}

std::optional<MeasuredUsage> LoadSeries::usage() const {
  const std::optional<ProcessUsage> used = Since(began_usage_, last_usage_);
  if (!used.has_value() || samples_.empty()) return std::nullopt;
  return MeasuredUsage{.from = began_at_,
                       .time = last_at_ - began_at_,
                       .messages = last_latency_.count() - began_count_,
                       .user = used->user,
                       .system = used->system,
                       .anonymous_bytes = used->anonymous_bytes,
                       .peak_bytes = used->peak_bytes};
}

std::optional<ProcessUsage> LoadSeries::ReadMeter(Read read) {
  if (!meter_.has_value() || !meter_status_.ok()) return std::nullopt;
  const absl::StatusOr<ProcessUsage> usage = ((*meter_).*read)();
  if (usage.ok()) return *usage;
  meter_status_ = usage.status();
  return std::nullopt;
}

// Makes one of each two.
void LoadSeries::HalveSamples() {
  static_assert(kMaxSamples % 2 == 0);
  std::vector<Sample> halved;
  for (size_t i = 0; i < samples_.size(); i += 2) {
    Extend(halved.emplace_back(std::move(samples_[i])), samples_[i + 1]);
  }
  samples_ = std::move(halved);
  shortest_ *= 2;
}

}  // namespace sluice::tools
