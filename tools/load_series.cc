#include "sluice/tools/load_series.h"

#include "absl/status/statusor.h"

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

}  // namespace

void LoadSeries::Begin(absl::Duration at, const Histogram& latency) {
  begun_ = true;
  began_at_ = at;
  began_count_ = latency.count();
  began_usage_ = last_usage_ = ReadMeter();
}

void LoadSeries::Add(absl::Duration at, const Histogram& latency) {
  if (!begun_ && at >= absl::ZeroDuration()) return Begin(at, latency);
  if (at - last_at_ < shortest_) return;
  std::optional<ProcessUsage> usage = ReadMeter();
  samples_.push_back({.from = last_at_,
                      .to = at,
                      .latency = latency.Since(last_latency_),
                      .used = Since(last_usage_, usage)});
  last_at_ = at;
  last_latency_ = latency;
  last_usage_ = usage;
  if (samples_.size() == kMaxSamples) HalveSamples();
}

std::optional<MeasuredUsage> LoadSeries::usage() const {
  const std::optional<ProcessUsage> used = Since(began_usage_, last_usage_);
  if (!used.has_value() || samples_.empty()) return std::nullopt;
  return MeasuredUsage{.time = last_at_ - began_at_,
                       .messages = last_latency_.count() - began_count_,
                       .user = used->user,
                       .system = used->system,
                       .anonymous_bytes = used->anonymous_bytes,
                       .peak_bytes = used->peak_bytes};
}

std::optional<ProcessUsage> LoadSeries::ReadMeter() {
  if (!meter_.has_value() || !meter_status_.ok()) return std::nullopt;
  const absl::StatusOr<ProcessUsage> usage = meter_->Read();
  if (usage.ok()) return *usage;
  meter_status_ = usage.status();
  return std::nullopt;
}

// Makes one of each two.
void LoadSeries::HalveSamples() {
  static_assert(kMaxSamples % 2 == 0);
  std::vector<Sample> halved;
  for (size_t i = 0; i < samples_.size(); i += 2) {
    Sample& both = halved.emplace_back(std::move(samples_[i]));
    const Sample& second = samples_[i + 1];
    both.to = second.to;
    both.latency.Merge(second.latency);
    if (both.used.has_value() && second.used.has_value()) {
      const ProcessUsage first = *both.used;
      both.used = second.used;
      both.used->user += first.user;
      both.used->system += first.system;
    } else {
      both.used.reset();
    }
  }
  samples_ = std::move(halved);
  shortest_ *= 2;
}

}  // namespace sluice::tools
