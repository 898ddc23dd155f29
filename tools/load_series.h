// LoadSeries is how a load went on in time: what was answered in each piece of the measured time,
// and, where a process is looked at, what that used. It is told from time to time what has come so
// far, and keeps at most kMaxSamples pieces, all of about the same length: of a longer run they are
// longer. Or there is but one piece, and nothing needs to be told between its ends.
//
// Example:
//   LoadSeries series(meter);
//   series.Add(absl::ZeroDuration(), latency);          // as the measured time begins
//   series.Add(absl::Seconds(1), latency);              // and every now and then
//   series.End(absl::Seconds(5), latency);
//   for (const LoadSeries::Sample& sample : series.samples()) sample.latency.Quantile(0.99);
//
// Thread-compatible. Takes 37 KiB a sample.
#ifndef SLUICE_TOOLS_LOAD_SERIES_H_
#define SLUICE_TOOLS_LOAD_SERIES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/process_meter.h"

namespace sluice::tools {

// What a process has used from one time to another.
struct MeasuredUsage {
  absl::Duration from = {};  // in the measured time
  absl::Duration time = {};
  uint64_t messages = 0;  // that were answered meanwhile
  absl::Duration user = {};
  absl::Duration system = {};
  uint64_t anonymous_bytes = 0;  // at the end
  uint64_t peak_bytes = 0;       // since the process began

  // Of one processor: 1 is all of it.
  double share() const { return absl::FDivDuration(user + system, time); }
  absl::Duration cpu_per_message() const {
    return messages == 0 ? absl::ZeroDuration() : (user + system) / static_cast<int64_t>(messages);
  }
};

class LoadSeries {
 public:
  static constexpr size_t kMaxSamples = 120;

  struct Sample {
    absl::Duration from;
    absl::Duration to;
    Histogram latency;                 // of what was answered
    std::optional<ProcessUsage> used;  // processor time meanwhile, memory at the end
    double per_second() const {
      return static_cast<double>(latency.count()) / absl::ToDoubleSeconds(to - from);
    }
  };

  // Not `over_time` is for one sample, of all the time.
  explicit LoadSeries(std::optional<ProcessMeter> meter = std::nullopt, bool over_time = true)
      : meter_(std::move(meter)), over_time_(over_time) {}

  // The measured time has come to `at`, with `latency` of all answers since it began. The first
  // call begins the series; one before that time (in a warm-up) is ignored, and so is what comes
  // too soon after another or, for one sample, all after the first.
  void Add(absl::Duration at, const Histogram& latency);
  // Whether Add at that time would do something.
  bool Wants(absl::Duration at) const;
  // The same for the last time, however soon: a short piece becomes part of the one before.
  void End(absl::Duration at, const Histogram& latency);

  absl::Span<const Sample> samples() const { return samples_; }

  // From the first Add to the last, or to End; none where no process is looked at, or it could not
  // be.
  std::optional<MeasuredUsage> usage() const;
  // Why it could not be, once that was so.
  const absl::Status& meter_status() const { return meter_status_; }

 private:
  using Read = absl::StatusOr<ProcessUsage> (ProcessMeter::*)() const;

  void Begin(absl::Duration at, const Histogram& latency);
  void Append(absl::Duration at, const Histogram& latency, Read read);
  std::optional<ProcessUsage> ReadMeter(Read read);
  void HalveSamples();

  std::optional<ProcessMeter> meter_;
  absl::Status meter_status_;
  bool over_time_;
  bool begun_ = false;
  absl::Duration shortest_ = absl::Milliseconds(90);  // of a sample
  absl::Duration began_at_;
  uint64_t began_count_ = 0;
  std::optional<ProcessUsage> began_usage_;
  absl::Duration last_at_;
  Histogram last_latency_;
  std::optional<ProcessUsage> last_usage_;
  std::vector<Sample> samples_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_SERIES_H_
