#include "sluice/tools/load_report.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "sluice/tools/format.h"
#include "sluice/tools/json.h"
#include "sluice/tools/latency_report.h"
#include "sluice/tools/load.h"
#include "sluice/tools/printable.h"
#include "sluice/tools/progress.h"
#include "sluice/tools/table.h"

namespace sluice::tools {
namespace {

constexpr absl::string_view kNoPorts =
    "  no local port was free: closed connections keep theirs for a while; see "
    "net.ipv4.ip_local_port_range and net.ipv4.tcp_tw_reuse\n";

std::string ErrorsLine(const LoadErrors& errors, const Terminal& terminal) {
  if (errors.total() == 0) return "";
  std::vector<std::string> kinds;
  for (int kind = 0; kind < LoadErrors::kKinds; ++kind) {
    if (errors.count[kind] > 0) {
      kinds.push_back(absl::StrCat(LoadErrors::Name(kind), " ", FormatCount(errors.count[kind])));
    }
  }
  return absl::StrCat(
      terminal.warning(), "errors: ", absl::StrJoin(kinds, ", "), terminal.plain(),
      "\n  the first: ", PrintableLine(errors.first), "\n",
      absl::StrContains(errors.first, std::strerror(EADDRNOTAVAIL)) ? kNoPorts : "");
}

// Of the connections that followed others.
std::string ReconnectLines(const LoadOptions& options, const LoadResult& result,
                           const Terminal& terminal) {
  if (!options.reconnect.has_value()) return "";
  const Histogram& time = result.time_to_connect;
  Table table({"connections", "connections/s", "mean", "p50", "p90", "p99", "p99.9", "max"});
  table.AddRow(
      {FormatCount(time.count()), FormatRate(result.reconnects_per_second()),
       FormatLatency(time.mean(), terminal), FormatLatency(time.Quantile(0.5), terminal),
       FormatLatency(time.Quantile(0.9), terminal), FormatLatency(time.Quantile(0.99), terminal),
       FormatLatency(time.Quantile(0.999), terminal), FormatLatency(time.max(), terminal)});
  return absl::StrCat("Each connection was closed after ",
                      FormatCounted(*options.reconnect, "message"),
                      "; the next one took so long to open\n\n", table.Render(terminal), "\n");
}

std::string CompressionLine(const LoadOptions& options, const LoadResult& result) {
  if (!options.compress) return "";
  return absl::StrCat("compression agreed on for ",
                      FormatCount(static_cast<uint64_t>(result.compressed)), " of ",
                      FormatCounted(static_cast<uint64_t>(result.connections), "connection"),
                      options.text ? "" : "; random bytes do not become less (--text)", "\n");
}

std::string ProgressLine(const LoadOptions& options, const Load::Progress& progress,
                         const Terminal& terminal) {
  const std::string errors =
      progress.errors == 0 ? "" : absl::StrCat("  ", FormatCounted(progress.errors, "error"));
  if (progress.course.warming_up) {
    return absl::StrCat("warming up  ", FormatCount(static_cast<uint64_t>(progress.open)), " open",
                        errors);
  }
  if (progress.connecting) {
    return absl::StrCat("connecting: ", FormatCount(static_cast<uint64_t>(progress.open)), " of ",
                        FormatCount(static_cast<uint64_t>(options.connections)), " open", errors);
  }
  return absl::StrCat(FormatSeconds(progress.course.elapsed), "  ",
                      FormatRate(progress.course.per_second), " messages/s  p99 ",
                      FormatLatency(progress.course.p99, terminal), "  ",
                      FormatCount(progress.messages), " in all  ",
                      FormatCount(static_cast<uint64_t>(progress.open)), " open", errors);
}

// "16 in flight on each", "1.00 k messages/s, at most 16 in flight on each".
std::string LoopText(const LoadOptions& options) {
  const std::string in_flight =
      absl::StrCat(FormatCount(static_cast<uint64_t>(options.pipeline)), " in flight on each");
  if (options.think_time > absl::ZeroDuration()) {
    return absl::StrCat(in_flight, ", ", absl::FormatDuration(options.think_time),
                        " from an answer to the next");
  }
  if (!options.rate.has_value()) return in_flight;
  return absl::StrCat(FormatRate(*options.rate), " messages/s, at most ", in_flight);
}

}  // namespace

std::string LoadReport(absl::string_view title, const LoadOptions& options,
                       const LoadResult& result, const Terminal& terminal) {
  std::string report = absl::StrCat(
      title, "\n", FormatCounted(static_cast<uint64_t>(result.connections), "connection"), ", ",
      LoopText(options), ", messages of ", SizesText(options.size), ", ",
      FormatCounted(static_cast<uint64_t>(options.threads), "thread"), ", ",
      FormatSeconds(result.elapsed), "\n", CompressionLine(options, result), "\n");
  absl::StrAppend(&report, LatencyReport("messages",
                                         {.count = result.messages,
                                          .per_second = result.messages_per_second(),
                                          .bytes_per_second = result.bytes_per_second()},
                                         result.latency, terminal));
  absl::StrAppend(&report, ReconnectLines(options, result, terminal));
  absl::StrAppend(&report, UsageLines(result.series, terminal));
  if (options.rate.has_value()) {
    absl::StrAppend(
        &report, RateLine("message", *options.rate, result.ReachedRate(), result.unsent, terminal));
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
  JsonObject errors;
  for (int kind = 0; kind < LoadErrors::kKinds; ++kind)
    errors.Add(LoadErrors::Name(kind), result.errors.count[kind]);

  JsonObject report;
  report.Add("url", url)
      .Add("protocol", options.protocol->name())
      .Add("connections", int64_t{options.connections})
      .Add("connections_opened", int64_t{result.connections})
      .Add("connections_compressed", int64_t{result.compressed});
  AddCommonJson(options, result, &report);
  report.Add("think_time_seconds", absl::ToDoubleSeconds(options.think_time))
      .Add("reconnect", options.reconnect)
      .Add("reconnects", result.time_to_connect.count())
      .Add("reconnects_per_second", result.reconnects_per_second())
      .Add("time_to_connect_ns", LatencyJson(result.time_to_connect))
      .Add("messages", result.messages)
      .Add("messages_per_second", result.messages_per_second())
      .Add("errors", errors)
      .Add("errors_total", result.errors.total())
      .Add("first_error", result.errors.first)
      .Add("ok", result.errors.total() == 0);
  return report.ToString();
}

absl::StatusOr<LoadResult> RunLoad(const LoadOptions& options) {
  const Terminal terminal = DetectTerminal(stderr);
  Progress line(stderr, terminal);
  Load load(options);
  return load.Run(line.interval(), [&](const Load::Progress& progress) {
    line.Show(ProgressLine(options, progress, terminal));
  });
}

}  // namespace sluice::tools
