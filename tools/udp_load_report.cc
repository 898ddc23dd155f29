#include "sluice/tools/udp_load_report.h"

#include <cstdint>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "sluice/tools/format.h"
#include "sluice/tools/json.h"
#include "sluice/tools/latency_report.h"
#include "sluice/tools/printable.h"
#include "sluice/tools/progress.h"
#include "sluice/tools/udp_load.h"

namespace sluice::tools {
namespace {

std::string ProgressLine(const UdpLoad::Progress& progress, const Terminal& terminal) {
  if (progress.course.warming_up) return "warming up";
  return absl::StrCat(
      FormatSeconds(progress.course.elapsed), "  ", FormatRate(progress.course.per_second),
      " datagrams/s  p99 ", FormatLatency(progress.course.p99, terminal), "  ",
      FormatCount(progress.answers), " in all",
      progress.lost == 0 ? "" : absl::StrCat("  ", FormatCount(progress.lost), " lost"));
}

// "12 (0.5%)".
std::string ShareOf(uint64_t part, uint64_t all) {
  if (part == 0) return "0";
  return absl::StrFormat("%s (%.3g%%)", FormatCount(part),
                         100.0 * static_cast<double>(part) / static_cast<double>(all));
}

std::string CountsLine(const UdpCounts& counts) {
  return absl::StrCat(
      "sent ", FormatCount(counts.sent), ": lost ", ShareOf(counts.lost, counts.sent), ", late ",
      ShareOf(counts.late, counts.sent), ", duplicated ", ShareOf(counts.duplicated, counts.sent),
      ", reordered ", ShareOf(counts.reordered, counts.sent), ", damaged ",
      ShareOf(counts.damaged, counts.sent), "\n");
}

// "16 in flight on each", "1.00 k datagrams/s, at most 16 in flight on each".
std::string LoopText(const UdpLoadOptions& options) {
  const std::string in_flight =
      absl::StrCat(FormatCount(static_cast<uint64_t>(options.pipeline)), " in flight on each");
  if (!options.rate.has_value()) return in_flight;
  return absl::StrCat(FormatRate(*options.rate), " datagrams/s, at most ", in_flight);
}

}  // namespace

absl::Status UdpLoadStatus(const UdpLoadOptions& options, const UdpLoadResult& result) {
  const std::string first =
      result.first_error.empty() ? "" : absl::StrCat("; ", PrintableLine(result.first_error));
  if (result.counts.damaged > 0) {
    return absl::DataLossError(absl::StrCat(FormatCounted(result.counts.damaged, "answer"),
                                            " differed from what was sent", first));
  }
  if (result.counts.sent > 0 && result.counts.answers + result.counts.late == 0) {
    return absl::UnavailableError(
        absl::StrCat("no answer came from ", options.peer.ToString(), " to any of ",
                     FormatCounted(result.counts.sent, "datagram"), " within ",
                     absl::FormatDuration(options.lost_after), first));
  }
  return absl::OkStatus();
}

std::string UdpLoadReport(absl::string_view title, const UdpLoadOptions& options,
                          const UdpLoadResult& result, const Terminal& terminal) {
  std::string report =
      absl::StrCat(title, "\n", FormatCounted(static_cast<uint64_t>(options.sockets), "socket"),
                   ", ", LoopText(options), ", datagrams of ", SizesText(options.size), ", ",
                   FormatCounted(static_cast<uint64_t>(options.threads), "thread"), ", ",
                   FormatSeconds(result.elapsed), "\n\n",
                   LatencyReport("datagrams",
                                 {.count = result.counts.answers,
                                  .per_second = result.answers_per_second(),
                                  .bytes_per_second = result.bytes_per_second()},
                                 result.latency, terminal),
                   CountsLine(result.counts), UsageLines(result.series, terminal));
  if (options.rate.has_value()) {
    absl::StrAppend(&report, RateLine("datagram", *options.rate, result.ReachedRate(),
                                      result.unsent, terminal));
  }
  if (result.unread > 0) {
    absl::StrAppend(&report, FormatCounted(result.unread, "answer"),
                    " came and found the receive buffers of this side full\n");
  }
  if (result.errors > 0) {
    absl::StrAppend(&report, terminal.warning(), FormatCounted(result.errors, "error"),
                    " of the network or the system", terminal.plain(),
                    "\n  the first: ", PrintableLine(result.first_error), "\n");
  }
  if (!options.verify) absl::StrAppend(&report, "answers were not verified\n");
  return report;
}

std::string UdpLoadReportJson(absl::string_view url, const UdpLoadOptions& options,
                              const UdpLoadResult& result) {
  JsonObject report;
  report.Add("url", url).Add("protocol", "udp").Add("connections", int64_t{options.sockets});
  AddCommonJson(options, result, &report);
  report.Add("lost_after_seconds", absl::ToDoubleSeconds(options.lost_after))
      .Add("messages", result.counts.answers)
      .Add("messages_per_second", result.answers_per_second())
      .Add("sent", result.counts.sent)
      .Add("lost", result.counts.lost)
      .Add("late", result.counts.late)
      .Add("duplicated", result.counts.duplicated)
      .Add("reordered", result.counts.reordered)
      .Add("damaged", result.counts.damaged)
      .Add("unread", result.unread)
      .Add("errors_total", result.errors)
      .Add("first_error", result.first_error)
      .Add("ok", UdpLoadStatus(options, result).ok());
  return report.ToString();
}

absl::StatusOr<UdpLoadResult> RunUdpLoad(const UdpLoadOptions& options) {
  const Terminal terminal = DetectTerminal(stderr);
  Progress line(stderr, terminal);
  UdpLoad load(options);
  return load.Run(line.interval(), [&](const UdpLoad::Progress& progress) {
    line.Show(ProgressLine(progress, terminal));
  });
}

}  // namespace sluice::tools
