#include "sluice/tools/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "sluice/tools/terminal.h"

namespace sluice::tools {
namespace {

// In the units of the view box, which a narrow screen shows at about 0.7 pixels each.
constexpr double kWidth = 460;
constexpr double kHeight = 275;
constexpr double kLeft = 68;
constexpr double kRight = 18;
constexpr double kTop = 34;
constexpr double kBottom = 55;
constexpr double kCharacter = 8;  // the width of one, more or less

using Axis = SvgChart::Axis;
using Line = SvgChart::Line;

struct Range {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();

  void Include(double value) {
    min = std::min(min, value);
    max = std::max(max, value);
  }
};

// 1, 2 or 5 times a power of ten: the smallest that is at least `value`.
double NiceAbove(double value) {
  const double decade = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 5.0}) {
    if (decade * step >= value * (1 - 1e-9)) return decade * step;
  }
  return decade * 10;
}

double NiceBelow(double value) { return 1 / NiceAbove(1 / value); }

// An axis with its range widened to where ticks are, and the ticks.
struct Scale {
  Scale(const Axis& of, const Range& data, double from, double to, size_t max_ticks)
      : axis(of), pixel_from(from), pixel_to(to), ticks(of.ticks) {
    if (axis.logarithmic) {
      MakeLogarithmic(data, max_ticks);
    } else {
      MakeLinear(data, max_ticks);
    }
  }

  double Place(double value) const {
    const double part = axis.logarithmic ? std::log(std::max(value, range.min) / range.min) /
                                               std::log(range.max / range.min)
                                         : (value - range.min) / (range.max - range.min);
    return pixel_from + std::clamp(part, 0.0, 1.0) * (pixel_to - pixel_from);
  }

  const Axis& axis;
  const double pixel_from;
  const double pixel_to;
  Range range;
  std::vector<double> ticks;

 private:
  // To the data's end; ticks are within.
  void MakeLinear(const Range& data, size_t max_ticks) {
    range = {0, data.max > 0 ? data.max : 1};
    if (!ticks.empty()) {
      range.max = std::max(range.max, ticks.back());
      return;
    }
    const double step = NiceAbove(range.max / static_cast<double>(max_ticks));
    if (pixel_from > pixel_to) range.max = std::ceil(range.max / step - 1e-9) * step;
    for (int i = 0; i * step <= range.max * (1 + 1e-9); ++i) ticks.push_back(i * step);
  }

  void MakeLogarithmic(const Range& data, size_t max_ticks) {
    range = {NiceBelow(data.min), NiceAbove(data.max)};
    if (range.max <= range.min) range.max = NiceAbove(range.min * 1.5);
    const std::vector<std::vector<double>> series = {{1, 2, 5}, {1, 3}, {1}};
    for (const std::vector<double>& steps : series) {
      ticks.clear();
      for (double decade = std::pow(10, std::floor(std::log10(range.min)));
           decade <= range.max * 1.001; decade *= 10) {
        for (const double step : steps) {
          const double tick = decade * step;
          if (tick >= range.min * 0.999 && tick <= range.max * 1.001) ticks.push_back(tick);
        }
      }
      if (ticks.size() <= max_ticks) return;
    }
    const size_t every = (ticks.size() + max_ticks - 1) / max_ticks;
    std::vector<double> fewer;
    for (size_t i = 0; i < ticks.size(); i += every) fewer.push_back(ticks[i]);
    ticks = std::move(fewer);
  }
};

std::string Number(double value) { return absl::StrFormat("%.1f", value); }

std::string Text(double x, double y, absl::string_view attributes, absl::string_view text) {
  return absl::StrCat("<text x=\"", Number(x), "\" y=\"", Number(y), "\"", attributes, ">",
                      EscapeHtml(text), "</text>\n");
}

std::string Stroke(double x1, double y1, double x2, double y2, absl::string_view style) {
  return absl::StrCat("<path class=\"", style, "\" d=\"M", Number(x1), " ", Number(y1), "L",
                      Number(x2), " ", Number(y2), "\"/>\n");
}

std::string Axes(const Scale& x, const Scale& y) {
  std::string svg;
  for (const double tick : y.ticks) {
    const double at = y.Place(tick);
    absl::StrAppend(&svg, Stroke(kLeft, at, kWidth - kRight, at, "grid"),
                    Text(kLeft - 8, at + 5, " text-anchor=\"end\"", y.axis.label(tick)));
  }
  double taken = -kWidth;  // by labels, from the left
  for (const double tick : x.ticks) {
    const double at = x.Place(tick);
    absl::StrAppend(&svg, Stroke(at, kHeight - kBottom, at, kHeight - kBottom + 5, "axis"));
    const std::string label = x.axis.label(tick);
    const double half = kCharacter * static_cast<double>(DisplayWidth(label)) / 2;
    const double middle = std::min(at, kWidth - half);
    if (middle - half < taken) continue;
    taken = middle + half + kCharacter;
    absl::StrAppend(&svg, Text(middle, kHeight - kBottom + 24, " text-anchor=\"middle\"", label));
  }
  absl::StrAppend(&svg,
                  Stroke(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "axis"),
                  Text((kLeft + kWidth - kRight) / 2, kHeight - 8,
                       " class=\"unit\" text-anchor=\"middle\"", x.axis.title),
                  Text(4, 14, " class=\"unit\"", y.axis.title));
  return svg;
}

std::string LineClass(size_t index, const Line& line) {
  return absl::StrCat("line c", index, line.dashed ? " dashed" : "");
}

std::string Draw(size_t index, const Line& line, const Scale& x, const Scale& y) {
  std::string path;
  const double floor = y.pixel_from;
  for (size_t i = 0; i < line.points.size(); ++i) {
    const double at_x = x.Place(line.points[i].first);
    const double at_y = y.Place(line.points[i].second);
    if (!line.bars) {
      absl::StrAppend(&path, i == 0 ? "M" : "L", Number(at_x), " ", Number(at_y));
    } else if (i + 1 < line.points.size() && line.points[i].second > 0) {
      const double end = x.Place(line.points[i + 1].first);
      // What there is shows, however small.
      absl::StrAppend(&path, "M", Number(at_x + 0.5), " ", Number(floor), "V",
                      Number(std::min(at_y, floor - 1)), "H", Number(std::max(end - 0.5, at_x + 1)),
                      "V", Number(floor), "Z");
    }
  }
  return absl::StrCat("<path class=\"",
                      line.bars ? absl::StrCat("bars c", index) : LineClass(index, line), "\" d=\"",
                      path, "\"/>\n");
}

// To the right, above the lines.
std::string Legend(const std::vector<Line>& lines) {
  if (lines.size() < 2) return "";
  constexpr double kEntry = 76;
  std::string svg;
  double at = kWidth - kRight - kEntry * static_cast<double>(lines.size());
  for (size_t i = 0; i < lines.size(); ++i, at += kEntry) {
    absl::StrAppend(&svg, Stroke(at, 10, at + 26, 10, LineClass(i, lines[i])),
                    Text(at + 32, 14, "", lines[i].name));
  }
  return svg;
}

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string SvgChart::Render() const {
  Range x_data;
  Range y_data;
  for (const Line& line : lines) {
    for (const auto& [at_x, at_y] : line.points) {
      x_data.Include(at_x);
      y_data.Include(at_y);
    }
  }
  if (x_data.max < x_data.min) return "<p>There is nothing to show.</p>\n";
  const Scale x_scale(x, x_data, kLeft, kWidth - kRight, 6);
  const Scale y_scale(y, y_data, kHeight - kBottom, kTop, 6);
  const std::string name = EscapeHtml(id);
  std::string svg = absl::StrFormat(
      "<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-labelledby=\"%s-title %s-desc\">\n"
      "<title id=\"%s-title\">%s</title>\n<desc id=\"%s-desc\">%s</desc>\n",
      kWidth, kHeight, name, name, name, EscapeHtml(title), name, EscapeHtml(description));
  absl::StrAppend(&svg, Axes(x_scale, y_scale));
  for (size_t i = 0; i < lines.size(); ++i)
    absl::StrAppend(&svg, Draw(i, lines[i], x_scale, y_scale));
  absl::StrAppend(&svg, Legend(lines), "</svg>\n");
  return svg;
}

}  // namespace sluice::tools
