#include "sluice/tools/latency_picture.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "sluice/tools/format.h"

namespace sluice::tools {
namespace {

constexpr size_t kMaxBars = 14;

// Steps of one decade, from fine to coarse (ISO 3's preferred numbers, and 1-2-5).
const std::vector<std::vector<double>>& DecadeSteps() {
  static const auto* const kSteps = new std::vector<std::vector<double>>{
      {1.00, 1.12, 1.25, 1.40, 1.60, 1.80, 2.00, 2.24, 2.50, 2.80,
       3.15, 3.55, 4.00, 4.50, 5.00, 5.60, 6.30, 7.10, 8.00, 9.00},
      {1.00, 1.25, 1.60, 2.00, 2.50, 3.15, 4.00, 5.00, 6.30, 8.00},
      {1.0, 1.6, 2.5, 4.0, 6.3},
      {1, 2, 5},
      {1},
  };
  return *kSteps;
}

// The numbers of a series from the last one at or below `from` to the first at or above `to`.
std::vector<absl::Duration> Borders(absl::Duration from, absl::Duration to,
                                    const std::vector<double>& steps) {
  std::vector<absl::Duration> borders;
  for (double decade = 1; borders.empty() || borders.back() < to; decade *= 10) {
    for (double step : steps) {
      const absl::Duration border = absl::Nanoseconds(decade * step);
      if (border <= from) borders.clear();
      borders.push_back(border);
      if (border >= to && borders.size() > 1) return borders;
    }
  }
  return borders;
}

std::vector<absl::Duration> ChooseBorders(absl::Duration from, absl::Duration to) {
  from = std::max(from, absl::Nanoseconds(1));
  to = std::max(to, from + absl::Nanoseconds(1));
  std::vector<absl::Duration> borders;
  for (const std::vector<double>& steps : DecadeSteps()) {
    borders = Borders(from, to, steps);
    if (borders.size() <= kMaxBars + 1) break;
  }
  return borders;
}

std::string Repeat(absl::string_view text, size_t times) {
  std::string result;
  while (times-- > 0) absl::StrAppend(&result, text);
  return result;
}

// A bar of `fraction` of `width` columns, padded to the whole; any value above 0 shows.
std::string Bar(double fraction, size_t width, const Terminal& terminal) {
  static constexpr absl::string_view kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const size_t parts = terminal.unicode ? 8 : 1;
  size_t length = static_cast<size_t>(std::lround(fraction * static_cast<double>(width * parts)));
  if (fraction > 0) length = std::max<size_t>(length, 1);
  const size_t whole = length / parts;
  const absl::string_view rest = terminal.unicode ? kEighths[length % parts] : "";
  const size_t used = whole + (rest.empty() ? 0 : 1);
  return absl::StrCat(terminal.accent(), Repeat(terminal.unicode ? "█" : "#", whole), rest,
                      terminal.plain(), std::string(width - used, ' '));
}

std::string PadLeft(absl::string_view text, size_t width) {
  const size_t taken = DisplayWidth(text);
  return absl::StrCat(std::string(width > taken ? width - taken : 0, ' '), text);
}

struct BarRow {
  std::string label;
  uint64_t count;
};

std::vector<BarRow> DistributionRows(const Histogram& histogram, const Terminal& terminal) {
  const std::vector<absl::Duration> borders =
      ChooseBorders(histogram.Quantile(0.001), histogram.Quantile(0.999));
  const auto format = [&](absl::Duration value) { return FormatLatency(value, terminal); };
  const absl::string_view dash = terminal.unicode ? " – " : " - ";
  std::vector<BarRow> rows;
  const uint64_t below = histogram.CountBetween(absl::ZeroDuration(), borders.front());
  if (below > 0) rows.push_back({absl::StrCat("below ", format(borders.front())), below});
  for (size_t i = 0; i + 1 < borders.size(); ++i) {
    rows.push_back({absl::StrCat(format(borders[i]), dash, format(borders[i + 1])),
                    histogram.CountBetween(borders[i], borders[i + 1])});
  }
  const uint64_t above = histogram.CountBetween(borders.back(), absl::InfiniteDuration());
  if (above > 0) rows.push_back({absl::StrCat(format(borders.back()), " or more"), above});
  return rows;
}

struct Percentile {
  absl::string_view name;
  double quantile;
  uint64_t min_count;  // with fewer values it would be the maximum
};
constexpr Percentile kPercentiles[] = {
    {"p50", 0.5, 1},         {"p90", 0.9, 10},           {"p99", 0.99, 100},
    {"p99.9", 0.999, 1'000}, {"p99.99", 0.9999, 10'000}, {"max", 1, 1}};

}  // namespace

std::string DistributionPicture(const Histogram& histogram, const Terminal& terminal) {
  if (histogram.count() == 0) return "";
  const std::vector<BarRow> rows = DistributionRows(histogram, terminal);
  size_t label_width = 0;
  uint64_t largest = 0;
  for (const BarRow& row : rows) {
    label_width = std::max(label_width, DisplayWidth(row.label));
    largest = std::max(largest, row.count);
  }
  constexpr size_t kPercentWidth = 8;
  const size_t bar_width =
      static_cast<size_t>(terminal.columns) - std::min<size_t>(label_width + kPercentWidth + 4, 60);
  std::string picture;
  for (const BarRow& row : rows) {
    const double share = static_cast<double>(row.count) / static_cast<double>(histogram.count());
    const std::string percent =
        row.count > 0 && share < 0.00005 ? "<0.01%" : absl::StrFormat("%.2f%%", share * 100);
    absl::StrAppend(
        &picture, "  ", PadLeft(row.label, label_width), " ",
        Bar(static_cast<double>(row.count) / static_cast<double>(largest), bar_width, terminal),
        PadLeft(percent, kPercentWidth), "\n");
  }
  return picture;
}

std::string PercentilePicture(const Histogram& histogram, const Terminal& terminal) {
  if (histogram.count() == 0) return "";
  const double low = std::log(std::max(1.0, absl::ToDoubleNanoseconds(histogram.min())));
  const double high = std::log(std::max(2.0, absl::ToDoubleNanoseconds(histogram.max())));
  constexpr size_t kNameWidth = 6;
  constexpr size_t kValueWidth = 8;
  const size_t width = static_cast<size_t>(terminal.columns) - kNameWidth - kValueWidth - 6;
  std::string picture;
  for (const Percentile& percentile : kPercentiles) {
    if (histogram.count() < percentile.min_count) continue;
    const absl::Duration value = histogram.Quantile(percentile.quantile);
    const double place = (std::log(std::max(1.0, absl::ToDoubleNanoseconds(value))) - low) /
                         std::max(high - low, 1e-9);
    const size_t length = static_cast<size_t>(
        std::lround(std::clamp(place, 0.0, 1.0) * static_cast<double>(width - 1)));
    absl::StrAppend(&picture, "  ", percentile.name,
                    std::string(kNameWidth - percentile.name.size() + 1, ' '), terminal.accent(),
                    Repeat(terminal.unicode ? "─" : "-", length), terminal.unicode ? "●" : "o",
                    terminal.plain(), std::string(width - 1 - length, ' '),
                    PadLeft(FormatLatency(value, terminal), kValueWidth + 2), "\n");
  }
  return picture;
}

}  // namespace sluice::tools
