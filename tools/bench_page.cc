#include "sluice/tools/bench_page.h"

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/tools/format.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/latency_report.h"
#include "sluice/tools/load_page.h"
#include "sluice/tools/load_series.h"
#include "sluice/tools/printable.h"
#include "sluice/tools/terminal.h"
#include "sluice/tools/udp_load_report.h"

namespace sluice::tools {
namespace {

using Row = LoadPage::Row;

const Terminal kTerminal = {.unicode = true};

std::string Count(int count) { return FormatCount(static_cast<uint64_t>(count)); }
std::string YesOrNo(bool yes) { return yes ? "yes" : "no"; }
std::string BytesRate(double per_second) { return absl::StrCat(FormatBytes(per_second), "/s"); }

std::string LoopText(absl::string_view noun, const std::optional<double>& rate) {
  return rate.has_value() ? absl::StrCat("open, ", FormatRate(*rate), " ", noun, "/s") : "closed";
}

std::string Subtitle(absl::string_view noun, absl::Time ended, absl::Duration elapsed) {
  return absl::StrCat("sluice bench: ", noun, " to an echo server for ", FormatSeconds(elapsed),
                      ", until ",
                      absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", ended, absl::UTCTimeZone()));
}

void AddFigures(absl::string_view noun, double per_second, const Histogram& latency,
                const LoadSeries& series, LoadPage* page) {
  page->figures.push_back({absl::StrCat(noun, "/s"), FormatRate(per_second)});
  if (latency.count() == 0) return;
  for (const double percent : {50.0, 99.0, 99.9}) {
    page->figures.push_back({absl::StrFormat("latency p%g", percent),
                             FormatLatency(latency.Quantile(percent / 100), kTerminal)});
  }
  page->figures.push_back({"latency max", FormatLatency(latency.max(), kTerminal)});
  if (const auto usage = series.usage()) {
    page->figures.push_back(
        {"server CPU, each", FormatLatency(usage->cpu_per_message(), kTerminal)});
  }
}

void AddRateWarning(absl::string_view noun, double rate, bool reached, uint64_t unsent,
                    LoadPage* page) {
  if (reached) return;
  page->warnings.push_back(absl::StrCat("The rate of ", FormatRate(rate), " ", noun,
                                        "s/s was not reached: ", UnsentText(noun, unsent), "."));
}

void AddMeterWarning(const LoadSeries& series, LoadPage* page) {
  if (series.meter_status().ok()) return;
  page->warnings.push_back(absl::StrCat(
      "The server could not be looked at to the end: ", series.meter_status().message(), "."));
}

void AddErrors(const LoadErrors& errors, LoadPage* page) {
  for (int kind = 0; kind < LoadErrors::kKinds; ++kind) {
    if (errors.count[kind] == 0) continue;
    page->results.push_back(
        {absl::StrCat("errors: ", LoadErrors::Name(kind)), FormatCount(errors.count[kind])});
  }
  if (errors.total() == 0) return page->results.push_back({"errors", "none"});
  page->warnings.push_back(absl::StrCat(FormatCounted(errors.total(), "error"),
                                        "; the first: ", PrintableLine(errors.first)));
}

void AddReconnects(const LoadResult& result, LoadPage* page) {
  const Histogram& time = result.time_to_connect;
  page->results.push_back({"connections that followed others", FormatCount(time.count())});
  page->results.push_back({"… a second", FormatRate(result.reconnects_per_second())});
  for (const double percent : {50.0, 99.0, 99.9}) {
    page->results.push_back({absl::StrFormat("… time to connect, p%g", percent),
                             FormatLatency(time.Quantile(percent / 100), kTerminal)});
  }
  page->results.push_back({"… time to connect, max", FormatLatency(time.max(), kTerminal)});
}

std::vector<Row> Configuration(const LoadOptions& options) {
  std::vector<Row> rows = {
      {"protocol", options.protocol->name()},
      {"connections", Count(options.connections)},
      {"in flight on each", Count(options.pipeline)},
      {"loop", LoopText("messages", options.rate)},
  };
  if (options.think_time > absl::ZeroDuration())
    rows.push_back({"think time", absl::FormatDuration(options.think_time)});
  if (options.reconnect.has_value())
    rows.push_back({"messages of a connection", FormatCount(*options.reconnect)});
  const std::vector<Row> more = {
      {"size of a message", SizesText(options.size)},
      {"content", options.text ? "text" : "random bytes"},
      {"compression", YesOrNo(options.compress)},
      {"encryption", YesOrNo(options.encryption != nullptr)},
      {"threads of the client", Count(options.threads)},
      {"warm-up", absl::FormatDuration(options.warm_up)},
      {"duration", absl::FormatDuration(options.duration)},
      {"timeout", absl::FormatDuration(options.timeout)},
      {"answers verified", YesOrNo(options.verify)},
  };
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

}  // namespace

std::string BenchPage(absl::string_view url, absl::Time ended, const LoadOptions& options,
                      const LoadResult& result) {
  LoadPage page = {.title = absl::StrCat("Load on ", PrintableLine(url)),
                   .subtitle = Subtitle("messages", ended, result.elapsed),
                   .noun = "messages"};
  AddFigures("messages", result.messages_per_second(), result.latency, result.series, &page);
  page.results = {{"messages", FormatCount(result.messages)},
                  {"each way", BytesRate(result.bytes_per_second())},
                  {"connections opened", Count(result.connections)}};
  if (options.compress) page.results.push_back({"… that compress", Count(result.compressed)});
  if (options.reconnect.has_value()) AddReconnects(result, &page);
  AddErrors(result.errors, &page);
  if (options.rate.has_value()) {
    AddRateWarning("message", *options.rate, result.ReachedRate(), result.unsent, &page);
  }
  AddMeterWarning(result.series, &page);
  page.configuration = Configuration(options);
  return page.Render(result.latency, result.series);
}

std::string BenchPage(absl::string_view url, absl::Time ended, const UdpLoadOptions& options,
                      const UdpLoadResult& result) {
  LoadPage page = {.title = absl::StrCat("Load on ", PrintableLine(url)),
                   .subtitle = Subtitle("datagrams", ended, result.elapsed),
                   .noun = "datagrams"};
  AddFigures("datagrams", result.answers_per_second(), result.latency, result.series, &page);
  const UdpCounts& counts = result.counts;
  page.results = {{"sent", FormatCount(counts.sent)},
                  {"answers", FormatCount(counts.answers)},
                  {"each way", BytesRate(result.bytes_per_second())},
                  {"lost", FormatCount(counts.lost)},
                  {"late", FormatCount(counts.late)},
                  {"duplicated", FormatCount(counts.duplicated)},
                  {"reordered", FormatCount(counts.reordered)},
                  {"damaged", FormatCount(counts.damaged)},
                  {"errors", FormatCount(result.errors)}};
  const absl::Status status = UdpLoadStatus(options, result);
  if (!status.ok()) page.warnings.emplace_back(status.message());
  if (options.rate.has_value()) {
    AddRateWarning("datagram", *options.rate, result.ReachedRate(), result.unsent, &page);
  }
  AddMeterWarning(result.series, &page);
  page.configuration = {
      {"protocol", "udp"},
      {"sockets", Count(options.sockets)},
      {"in flight on each", Count(options.pipeline)},
      {"loop", LoopText("datagrams", options.rate)},
      {"size of a datagram", SizesText(options.size)},
      {"content", options.text ? "text" : "random bytes"},
      {"threads of the client", Count(options.threads)},
      {"warm-up", absl::FormatDuration(options.warm_up)},
      {"duration", absl::FormatDuration(options.duration)},
      {"lost after", absl::FormatDuration(options.lost_after)},
      {"answers verified", YesOrNo(options.verify)},
  };
  return page.Render(result.latency, result.series);
}

}  // namespace sluice::tools
