// What the reports of a load say alike, over streams and over UDP, above all of the answers: how
// many, how fast, and how long each took.
//
// Thread-safe.
#ifndef SLUICE_TOOLS_LATENCY_REPORT_H_
#define SLUICE_TOOLS_LATENCY_REPORT_H_

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/json.h"
#include "sluice/tools/load_series.h"
#include "sluice/tools/message_sizes.h"
#include "sluice/tools/terminal.h"

namespace sluice::tools {

struct AnswerSummary {
  uint64_t count = 0;
  double per_second = 0;
  double bytes_per_second = 0;  // each way
};

// A table and two pictures; empty for no answers. `noun` is what an answer is: "messages".
std::string LatencyReport(absl::string_view noun, const AnswerSummary& answers,
                          const Histogram& latency, const Terminal& terminal);

// "min", "mean", some percentiles and "max", in nanoseconds.
JsonObject LatencyJson(const Histogram& latency);

// "1.00 KiB"; of mixed ones "64:80, 4096:20 (870 B on average)".
std::string SizesText(const MessageSizes& sizes);

// Why an open loop has not kept its rate; `noun` is what is sent, in the singular.
std::string UnsentText(absl::string_view noun, uint64_t unsent);

// Whether an open loop has kept its rate.
std::string RateLine(absl::string_view noun, double rate, bool reached, uint64_t unsent,
                     const Terminal& terminal);

// What the server has used, or why that is not known; empty where nobody looked.
std::string UsageLines(const LoadSeries& series, const Terminal& terminal);
std::optional<JsonObject> UsageJson(const LoadSeries& series);

// The members of the JSON that are the same; both types are those of LoadReport or UdpLoadReport.
template <typename Options, typename Result>
void AddCommonJson(const Options& options, const Result& result, JsonObject* report) {
  report->Add("pipeline", int64_t{options.pipeline})
      .Add("size", static_cast<int64_t>(std::llround(options.size.mean())))
      .Add("sizes", options.size.ToString())
      .Add("rate", options.rate)
      .Add("rate_reached",
           options.rate.has_value() ? std::optional<bool>(result.ReachedRate()) : std::nullopt)
      .Add("unsent", result.unsent)
      .Add("warm_up_seconds", absl::ToDoubleSeconds(options.warm_up))
      .Add("text", options.text)
      .Add("threads", int64_t{options.threads})
      .Add("seconds", absl::ToDoubleSeconds(result.elapsed))
      .Add("bytes", result.bytes)
      .Add("bytes_per_second", result.bytes_per_second())
      .Add("latency_ns", LatencyJson(result.latency))
      .Add("server", UsageJson(result.series))
      .Add("verified", options.verify);
}

// "12.3 s".
std::string FormatSeconds(absl::Duration duration);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LATENCY_REPORT_H_
