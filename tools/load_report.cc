#include "sluice/tools/load_report.h"

#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "sluice/tools/format.h"
#include "sluice/tools/json.h"
#include "sluice/tools/latency_picture.h"
#include "sluice/tools/load.h"
#include "sluice/tools/printable.h"
#include "sluice/tools/progress.h"
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

std::string Plural(uint64_t count, absl::string_view noun) {
  return absl::StrCat(FormatCount(count), " ", noun, count == 1 ? "" : "s");
}

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%.1f s", absl::ToDoubleSeconds(duration));
}

std::string ErrorsLine(const LoadErrors& errors, const Terminal& terminal) {
  if (errors.total() == 0) return "";
  std::vector<std::string> kinds;
  for (int kind = 0; kind < LoadErrors::kKinds; ++kind) {
    if (errors.count[kind] > 0) {
      kinds.push_back(absl::StrCat(LoadErrors::Name(kind), " ", FormatCount(errors.count[kind])));
    }
  }
  return absl::StrCat(terminal.warning(), "errors: ", absl::StrJoin(kinds, ", "), terminal.plain(),
                      "\n  the first: ", PrintableLine(errors.first), "\n");
}

std::string CompressionLine(const LoadOptions& options, const LoadResult& result) {
  if (!options.compress) return "";
  return absl::StrCat("compression agreed on for ",
                      FormatCount(static_cast<uint64_t>(result.compressed)), " of ",
                      Plural(static_cast<uint64_t>(result.connections), "connection"),
                      options.text ? "" : "; random bytes do not become less (--text)", "\n");
}

std::string ProgressLine(const LoadOptions& options, const Load::Progress& progress) {
  const std::string errors =
      progress.errors == 0 ? "" : absl::StrCat("  ", Plural(progress.errors, "error"));
  if (progress.connecting) {
    return absl::StrCat("connecting: ", FormatCount(static_cast<uint64_t>(progress.open)), " of ",
                        FormatCount(static_cast<uint64_t>(options.connections)), " open", errors);
  }
  return absl::StrCat(Seconds(progress.elapsed), "  ", FormatRate(progress.messages_per_second),
                      " messages/s  ", FormatCount(progress.messages), " in all  ",
                      FormatCount(static_cast<uint64_t>(progress.open)), " open", errors);
}

}  // namespace

std::string LoadReport(absl::string_view title, const LoadOptions& options,
                       const LoadResult& result, const Terminal& terminal) {
  std::string report = absl::StrCat(
      title, "\n", Plural(static_cast<uint64_t>(result.connections), "connection"), ", ",
      FormatCount(static_cast<uint64_t>(options.pipeline)), " in flight on each, messages of ",
      FormatBytes(static_cast<double>(options.size)), ", ",
      Plural(static_cast<uint64_t>(options.threads), "thread"), ", ", Seconds(result.elapsed), "\n",
      CompressionLine(options, result), "\n");
  if (result.messages > 0) {
    std::vector<std::string> header = {"messages", "messages/s", "each way", "mean"};
    std::vector<std::string> row = {FormatCount(result.messages),
                                    FormatRate(result.messages_per_second()),
                                    absl::StrCat(FormatBytes(result.bytes_per_second()), "/s"),
                                    FormatLatency(result.latency.mean(), terminal)};
    for (const Percentile& percentile : kTablePercentiles) {
      header.emplace_back(percentile.name);
      row.push_back(FormatLatency(result.latency.Quantile(percentile.quantile), terminal));
    }
    header.emplace_back("max");
    row.push_back(FormatLatency(result.latency.max(), terminal));
    Table table(std::move(header));
    table.AddRow(std::move(row));
    absl::StrAppend(
        &report, table.Render(terminal), "\nLatency, and the share of messages with it\n",
        DistributionPicture(result.latency, terminal), "\nPercentiles, on a logarithmic scale\n",
        PercentilePicture(result.latency, terminal), "\n");
  }
  absl::StrAppend(&report, ErrorsLine(result.errors, terminal));
  if (result.errors.total() == 0) {
    absl::StrAppend(&report, "no errors",
                    options.verify ? "; every message came back as it was sent\n"
                                   : "; answers were not verified\n");
  }
  return report;
}

std::string LoadReportJson(absl::string_view url, const LoadOptions& options,
                           const LoadResult& result) {
  JsonObject latency;
  latency.Add("min", absl::ToInt64Nanoseconds(result.latency.min()));
  latency.Add("mean", absl::ToInt64Nanoseconds(result.latency.mean()));
  for (const Percentile& percentile : kJsonPercentiles) {
    latency.Add(percentile.name,
                absl::ToInt64Nanoseconds(result.latency.Quantile(percentile.quantile)));
  }
  latency.Add("max", absl::ToInt64Nanoseconds(result.latency.max()));
  JsonObject errors;
  for (int kind = 0; kind < LoadErrors::kKinds; ++kind)
    errors.Add(LoadErrors::Name(kind), result.errors.count[kind]);

  JsonObject report;
  report.Add("url", url)
      .Add("protocol", options.protocol->name())
      .Add("connections", int64_t{options.connections})
      .Add("connections_opened", int64_t{result.connections})
      .Add("connections_compressed", int64_t{result.compressed})
      .Add("pipeline", int64_t{options.pipeline})
      .Add("size", static_cast<uint64_t>(options.size))
      .Add("text", options.text)
      .Add("threads", int64_t{options.threads})
      .Add("seconds", absl::ToDoubleSeconds(result.elapsed))
      .Add("messages", result.messages)
      .Add("messages_per_second", result.messages_per_second())
      .Add("bytes", result.bytes)
      .Add("bytes_per_second", result.bytes_per_second())
      .Add("latency_ns", latency)
      .Add("errors", errors)
      .Add("errors_total", result.errors.total())
      .Add("first_error", result.errors.first)
      .Add("verified", options.verify)
      .Add("ok", result.errors.total() == 0);
  return report.ToString();
}

absl::StatusOr<LoadResult> RunLoad(const LoadOptions& options) {
  Progress line(stderr, DetectTerminal(stderr));
  Load load(options);
  return load.Run(line.interval(), [&](const Load::Progress& progress) {
    line.Show(ProgressLine(options, progress));
  });
}

}  // namespace sluice::tools
