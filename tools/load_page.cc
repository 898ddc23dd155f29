#include "sluice/tools/load_page.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/tools/format.h"
#include "sluice/tools/load_page_style.h"
#include "sluice/tools/svg_chart.h"
#include "sluice/tools/terminal.h"

namespace sluice::tools {
namespace {

using Row = LoadPage::Row;
using Sample = LoadSeries::Sample;

// "1.00 k" as "1 k".
std::string WithoutZeros(std::string text) {
  const size_t point = text.find('.');
  if (point == std::string::npos) return text;
  const size_t end = std::min(text.find(' ', point), text.size());
  size_t last = end;
  while (text[last - 1] == '0') --last;
  if (last - 1 == point) --last;
  return text.erase(last, end - last);
}

std::string RateLabel(double per_second) { return WithoutZeros(FormatRate(per_second)); }
std::string BytesLabel(double bytes) { return WithoutZeros(FormatBytes(bytes)); }
std::string PlainLabel(double value) { return absl::StrFormat("%g", value); }
std::string PercentLabel(double value) { return absl::StrFormat("%g%%", value); }
std::string Latency(absl::Duration latency) {
  return FormatLatency(latency, Terminal{.unicode = true});
}
// Of nanoseconds.
std::string LatencyLabel(double nanoseconds) {
  return WithoutZeros(Latency(absl::Nanoseconds(nanoseconds)));
}
double Nanoseconds(absl::Duration latency) {
  return std::max(1.0, absl::ToDoubleNanoseconds(latency));
}
double Middle(const Sample& sample) {
  return absl::ToDoubleSeconds(sample.from + (sample.to - sample.from) / 2);
}

const SvgChart::Axis& TimeAxis() {
  static const auto* const kAxis =
      new SvgChart::Axis{.title = "seconds since the measured time began", .label = PlainLabel};
  return *kAxis;
}

std::string Figure(absl::string_view caption, const SvgChart& chart) {
  return absl::StrCat("<figure>\n<figcaption>", EscapeHtml(caption), "</figcaption>\n",
                      chart.Render(), "</figure>\n");
}

std::string Throughput(absl::string_view noun, absl::Span<const Sample> samples) {
  SvgChart chart = {.id = "throughput", .title = "Throughput over time", .x = TimeAxis()};
  chart.y = {.title = absl::StrCat(noun, " a second"), .label = RateLabel};
  SvgChart::Line line;
  double least = samples.front().per_second();
  double most = least;
  for (const Sample& sample : samples) {
    least = std::min(least, sample.per_second());
    most = std::max(most, sample.per_second());
    line.points.emplace_back(Middle(sample), sample.per_second());
  }
  chart.lines.push_back(std::move(line));
  chart.description = absl::StrCat("Between ", FormatRate(least), " and ", FormatRate(most), " ",
                                   noun, " a second were answered.");
  return Figure("Throughput over time", chart);
}

std::string LatencyOverTime(absl::Span<const Sample> samples) {
  SvgChart chart = {.id = "latency", .title = "Latency over time", .x = TimeAxis()};
  chart.y = {.title = "latency (logarithmic)", .label = LatencyLabel, .logarithmic = true};
  SvgChart::Line p50 = {.name = "p50"};
  SvgChart::Line p99 = {.name = "p99", .dashed = true};
  absl::Duration worst;
  for (const Sample& sample : samples) {
    if (sample.latency.count() == 0) continue;
    worst = std::max(worst, sample.latency.Quantile(0.99));
    p50.points.emplace_back(Middle(sample), Nanoseconds(sample.latency.Quantile(0.5)));
    p99.points.emplace_back(Middle(sample), Nanoseconds(sample.latency.Quantile(0.99)));
  }
  chart.lines = {std::move(p50), std::move(p99)};
  chart.description = absl::StrCat(
      "The median and the 99th percentile of each piece of time; the "
      "latter was at most ",
      Latency(worst), ".");
  return Figure("Latency over time", chart);
}

std::string Distribution(absl::string_view noun, const Histogram& latency) {
  SvgChart chart = {.id = "distribution", .title = "Distribution of latencies"};
  chart.x = {.title = "latency (logarithmic)", .label = LatencyLabel, .logarithmic = true};
  chart.y = {.title = absl::StrCat("share of ", noun), .label = PercentLabel};
  SvgChart::Line bars = {.bars = true};
  constexpr double kBarsPerDecade = 12;
  const double first = std::floor(std::log10(Nanoseconds(latency.min())) * kBarsPerDecade);
  const double last = std::floor(std::log10(Nanoseconds(latency.max())) * kBarsPerDecade);
  for (double bar = first; bar <= last + 1; ++bar) {
    const double from = std::pow(10, bar / kBarsPerDecade);
    const double to = std::pow(10, (bar + 1) / kBarsPerDecade);
    const uint64_t count = latency.CountBetween(absl::Nanoseconds(from), absl::Nanoseconds(to));
    bars.points.emplace_back(
        from, 100.0 * static_cast<double>(count) / static_cast<double>(latency.count()));
  }
  chart.lines.push_back(std::move(bars));
  chart.description = absl::StrCat("Half of the ", noun, " took ", Latency(latency.Quantile(0.5)),
                                   " or less, 99% ", Latency(latency.Quantile(0.99)),
                                   " or less, all ", Latency(latency.max()), " or less.");
  return Figure("Distribution of latencies", chart);
}

// As HdrHistogram's plots are: each tick to the right has a tenth of what was slower before.
std::string ByPercentile(absl::string_view noun, const Histogram& latency) {
  const auto percent = [](double nines) { return 100 * (1 - std::pow(10, -nines)); };
  SvgChart chart = {.id = "percentiles", .title = "Latency by percentile"};
  chart.x = {.title = absl::StrCat("percentile of the ", noun),
             .label = [percent](double nines) { return absl::StrFormat("%.10g", percent(nines)); }};
  chart.y = {.title = "latency (logarithmic)", .label = LatencyLabel, .logarithmic = true};
  const double end = std::max(1.0, std::log10(static_cast<double>(latency.count())));
  SvgChart::Line line;
  for (double nines = 0; nines < end; nines += 0.02) {
    line.points.emplace_back(nines, Nanoseconds(latency.Quantile(percent(nines) / 100)));
  }
  line.points.emplace_back(end, Nanoseconds(latency.max()));
  for (double nines = 0; nines <= end; ++nines) chart.x.ticks.push_back(nines);
  chart.lines.push_back(std::move(line));
  chart.description =
      absl::StrCat("From ", Latency(latency.min()), " through ", Latency(latency.Quantile(0.99)),
                   " at 99% to ", Latency(latency.max()), " for the slowest.");
  return Figure("Latency by percentile", chart);
}

// Processor time comes in ticks of 10 ms, so that short samples would show those.
std::string ServerCpu(absl::Span<const Sample> samples, const MeasuredUsage& usage) {
  SvgChart chart = {.id = "cpu", .title = "Processor time of the server", .x = TimeAxis()};
  chart.y = {.title = "of one processor", .label = PercentLabel};
  SvgChart::Line line;
  absl::Duration from = usage.from;
  absl::Duration used;
  for (const Sample& sample : samples) {
    if (!sample.used.has_value()) continue;
    used += sample.used->cpu();
    const absl::Duration time = sample.to - from;
    if (time < absl::Milliseconds(450) && &sample != &samples.back()) continue;
    line.points.emplace_back(absl::ToDoubleSeconds(from + time / 2),
                             100 * absl::FDivDuration(used, time));
    from = sample.to;
    used = absl::ZeroDuration();
  }
  chart.lines.push_back(std::move(line));
  chart.description = absl::StrFormat("%.3g%% of one processor on average.", 100 * usage.share());
  return Figure("Processor time of the server", chart);
}

std::string ServerMemory(absl::Span<const Sample> samples, const MeasuredUsage& usage) {
  SvgChart chart = {.id = "memory", .title = "Memory of the server", .x = TimeAxis()};
  chart.y = {.title = "anonymous memory", .label = BytesLabel};
  SvgChart::Line line;
  double most = 1;
  for (const Sample& sample : samples) {
    if (!sample.used.has_value()) continue;
    const auto bytes = static_cast<double>(sample.used->anonymous_bytes);
    most = std::max(most, bytes);
    line.points.emplace_back(absl::ToDoubleSeconds(sample.to), bytes);
  }
  const double step = std::exp2(std::ceil(std::log2(most / 6)));
  for (double tick = 0; tick < most + step; tick += step) chart.y.ticks.push_back(tick);
  chart.lines.push_back(std::move(line));
  chart.description =
      absl::StrCat(FormatBytes(static_cast<double>(usage.anonymous_bytes)), " at the end.");
  return Figure("Memory of the server", chart);
}

std::string Table(absl::string_view heading, const std::vector<Row>& rows) {
  if (rows.empty()) return "";
  std::string html = absl::StrCat("<section>\n<h2>", EscapeHtml(heading), "</h2>\n<table>\n");
  constexpr size_t kShort = 18;
  for (const Row& row : rows) {
    absl::StrAppend(&html, "<tr><th scope=\"row\">", EscapeHtml(row.name), "</th><td",
                    row.value.size() <= kShort ? " class=\"short\">" : ">", EscapeHtml(row.value),
                    "</td></tr>\n");
  }
  return absl::StrCat(html, "</table>\n</section>\n");
}

std::vector<Row> Percentiles(const Histogram& latency) {
  std::vector<Row> rows;
  if (latency.count() == 0) return rows;
  rows.push_back({"min", Latency(latency.min())});
  for (const double percent : {50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99}) {
    rows.push_back({absl::StrFormat("p%g", percent), Latency(latency.Quantile(percent / 100))});
  }
  rows.push_back({"max", Latency(latency.max())});
  rows.push_back({"mean", Latency(latency.mean())});
  return rows;
}

std::vector<Row> UsageRows(const MeasuredUsage& usage) {
  return {
      {"processor time for each message", Latency(usage.cpu_per_message())},
      {"of one processor", absl::StrFormat("%.3g%%", 100 * usage.share())},
      {"user", absl::StrFormat("%.2f s", absl::ToDoubleSeconds(usage.user))},
      {"system", absl::StrFormat("%.2f s", absl::ToDoubleSeconds(usage.system))},
      {"anonymous memory at the end", FormatBytes(static_cast<double>(usage.anonymous_bytes))},
      {"resident memory at its peak", FormatBytes(static_cast<double>(usage.peak_bytes))},
  };
}

std::string Pictures(absl::string_view noun, const Histogram& latency, const LoadSeries& series) {
  std::string html;
  if (latency.count() > 0) {  // else there is nothing to see
    if (!series.samples().empty()) {
      absl::StrAppend(&html, Throughput(noun, series.samples()), LatencyOverTime(series.samples()));
    }
    absl::StrAppend(&html, Distribution(noun, latency), ByPercentile(noun, latency));
  }
  if (const auto usage = series.usage()) {
    absl::StrAppend(&html, ServerCpu(series.samples(), *usage),
                    ServerMemory(series.samples(), *usage));
  }
  return html;
}

}  // namespace

std::string LoadPage::Render(const Histogram& latency, const LoadSeries& series) const {
  std::string html = absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>",
      EscapeHtml(title), "</title>\n<style>\n", kLoadPageStyle,
      "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>", EscapeHtml(title), "</h1>\n<p>",
      EscapeHtml(subtitle), "</p>\n</header>\n<dl>\n");
  for (const Row& figure : figures) {
    absl::StrAppend(&html, "<div><dt>", EscapeHtml(figure.name), "</dt><dd>",
                    EscapeHtml(figure.value), "</dd></div>\n");
  }
  absl::StrAppend(&html, "</dl>\n");
  for (const std::string& warning : warnings)
    absl::StrAppend(&html, "<p class=\"warning\" role=\"note\">", EscapeHtml(warning), "</p>\n");
  absl::StrAppend(&html, "<div class=\"pictures\">\n", Pictures(noun, latency, series),
                  "</div>\n<div class=\"tables\">\n", Table("Latency", Percentiles(latency)),
                  Table("Results", results));
  if (const auto usage = series.usage()) absl::StrAppend(&html, Table("Server", UsageRows(*usage)));
  return absl::StrCat(html, Table("Configuration", configuration),
                      "</div>\n</main>\n</body>\n</html>\n");
}

}  // namespace sluice::tools
