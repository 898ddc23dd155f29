#include "sluice/tools/format.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"

namespace sluice::tools {
namespace {

// `value` in [0, about 1000) with three significant digits.
std::string ThreeDigits(double value) {
  if (value >= 99.95 || value == 0) return absl::StrFormat("%.0f", value);
  return absl::StrFormat("%.*f", value >= 9.995 ? 1 : 2, value);
}

// The largest unit in which `value` is at least 1 after rounding, each `step` times the one before.
std::string WithUnit(double value, double step, absl::Span<const absl::string_view> units) {
  size_t unit = 0;
  while (unit + 1 < units.size() && std::round(value) >= step) {
    value /= step;
    ++unit;
  }
  return units[unit].empty() ? ThreeDigits(value)
                             : absl::StrCat(ThreeDigits(value), " ", units[unit]);
}

}  // namespace

std::string FormatCount(uint64_t count) {
  std::string digits = absl::StrCat(count);
  for (size_t position = digits.size(); position > 3;) digits.insert(position -= 3, 1, ',');
  return digits;
}

std::string FormatCounted(uint64_t count, absl::string_view noun) {
  return absl::StrCat(FormatCount(count), " ", noun, count == 1 ? "" : "s");
}

std::string FormatRate(double per_second) {
  return WithUnit(per_second, 1000, {"", "k", "M", "G"});
}

std::string FormatBytes(double bytes) {
  return WithUnit(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}

std::string FormatLatency(absl::Duration latency, const Terminal& terminal) {
  const double seconds = absl::ToDoubleSeconds(latency);
  if (std::round(seconds * 1e3) < 1000) {
    return WithUnit(seconds * 1e9, 1000, {"ns", terminal.unicode ? "µs" : "us", "ms"});
  }
  return absl::StrCat(ThreeDigits(seconds), " s");
}

}  // namespace sluice::tools
