#include "sluice/tools/latency_report.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "sluice/tools/format.h"
#include "sluice/tools/latency_picture.h"
#include "sluice/tools/table.h"

namespace sluice::tools {
namespace {

struct Percentile {
  absl::string_view name;
  double quantile;
};
constexpr Percentile kTablePercentiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};
constexpr Percentile kJsonPercentiles[] = {{"p50", 0.5},      {"p75", 0.75}, {"p90", 0.9},
                                           {"p95", 0.95},     {"p99", 0.99}, {"p99.9", 0.999},
                                           {"p99.99", 0.9999}};

}  // namespace

std::string LatencyReport(absl::string_view noun, const AnswerSummary& answers,
                          const Histogram& latency, const Terminal& terminal) {
  if (answers.count == 0) return "";
  std::vector<std::string> header = {std::string(noun), absl::StrCat(noun, "/s"), "each way",
                                     "mean"};
  std::vector<std::string> row = {FormatCount(answers.count), FormatRate(answers.per_second),
                                  absl::StrCat(FormatBytes(answers.bytes_per_second), "/s"),
                                  FormatLatency(latency.mean(), terminal)};
  for (const Percentile& percentile : kTablePercentiles) {
    header.emplace_back(percentile.name);
    row.push_back(FormatLatency(latency.Quantile(percentile.quantile), terminal));
  }
  header.emplace_back("max");
  row.push_back(FormatLatency(latency.max(), terminal));
  Table table(std::move(header));
  table.AddRow(std::move(row));
  return absl::StrCat(table.Render(terminal), "\nLatency, and the share of ", noun, " with it\n",
                      DistributionPicture(latency, terminal),
                      "\nPercentiles, on a logarithmic scale\n",
                      PercentilePicture(latency, terminal), "\n");
}

JsonObject LatencyJson(const Histogram& latency) {
  JsonObject json;
  json.Add("min", absl::ToInt64Nanoseconds(latency.min()));
  json.Add("mean", absl::ToInt64Nanoseconds(latency.mean()));
  for (const Percentile& percentile : kJsonPercentiles) {
    json.Add(percentile.name, absl::ToInt64Nanoseconds(latency.Quantile(percentile.quantile)));
  }
  json.Add("max", absl::ToInt64Nanoseconds(latency.max()));
  return json;
}

std::string SizesText(const MessageSizes& sizes) {
  const std::string mean = FormatBytes(sizes.mean());
  if (!sizes.mixed()) return mean;
  return absl::StrCat(absl::StrReplaceAll(sizes.ToString(), {{",", ", "}}), " (", mean,
                      " on average)");
}

std::string UnsentText(absl::string_view noun, uint64_t unsent) {
  if (unsent == 0) return "nothing was answered";
  return absl::StrCat(FormatCounted(unsent, noun), " that ", unsent == 1 ? "was" : "were",
                      " due had not been sent at the end");
}

std::string RateLine(absl::string_view noun, double rate, bool reached, uint64_t unsent,
                     const Terminal& terminal) {
  const std::string asked = absl::StrCat(FormatRate(rate), " ", noun, "s/s");
  if (reached) return absl::StrCat("the rate of ", asked, " was reached\n");
  return absl::StrCat(terminal.warning(), "the rate of ", asked, " was not reached",
                      terminal.plain(), "; ", UnsentText(noun, unsent), "\n");
}

std::string UsageLines(const LoadSeries& series, const Terminal& terminal) {
  std::string lines;
  if (const std::optional<MeasuredUsage> usage = series.usage()) {
    lines = absl::StrCat("the server used ", absl::StrFormat("%.3g%%", 100 * usage->share()),
                         " of a processor (user ", FormatSeconds(usage->user), ", system ",
                         FormatSeconds(usage->system), "), ",
                         FormatLatency(usage->cpu_per_message(), terminal), " for each message, ",
                         FormatBytes(static_cast<double>(usage->anonymous_bytes)),
                         " of anonymous memory, and at its peak ",
                         FormatBytes(static_cast<double>(usage->peak_bytes)), " in all\n");
  }
  if (!series.meter_status().ok()) {
    absl::StrAppend(&lines, terminal.warning(), "the server could not be looked at to the end: ",
                    series.meter_status().message(), terminal.plain(), "\n");
  }
  return lines;
}

std::optional<JsonObject> UsageJson(const LoadSeries& series) {
  const std::optional<MeasuredUsage> usage = series.usage();
  if (!usage.has_value() && series.meter_status().ok()) return std::nullopt;
  JsonObject json;
  if (usage.has_value()) {
    json.Add("seconds", absl::ToDoubleSeconds(usage->time))
        .Add("messages", usage->messages)
        .Add("user_seconds", absl::ToDoubleSeconds(usage->user))
        .Add("system_seconds", absl::ToDoubleSeconds(usage->system))
        .Add("cpu_share", usage->share())
        .Add("cpu_ns_per_message", absl::ToDoubleNanoseconds(usage->user + usage->system) /
                                       static_cast<double>(usage->messages))
        .Add("anonymous_bytes", usage->anonymous_bytes)
        .Add("peak_bytes", usage->peak_bytes);
  }
  if (!series.meter_status().ok()) json.Add("error", series.meter_status().message());
  return json;
}

std::string FormatSeconds(absl::Duration duration) {
  return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(duration));
}

}  // namespace sluice::tools
