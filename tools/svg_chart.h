// SvgChart draws a picture of numbers as inline SVG: lines or bars over two axes, each linear or
// logarithmic, with labels that do not overlap. It uses classes, and leaves colours and fonts to
// the page's style sheet (load_page_style.h), so that they follow light and dark. Lines are told
// apart by how they are dashed and by a legend, not by colour alone.
//
// Example:
//   SvgChart chart({.id = "rate", .title = "Messages a second", .description = "About 5,000."});
//   chart.x = {.title = "seconds", .label = [](double value) { return absl::StrCat(value); }};
//   chart.y = {.title = "messages/s", .label = FormatRate};
//   chart.lines.push_back({.points = {{0, 5000}, {1, 5100}}});
//   page += chart.Render();
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_SVG_CHART_H_
#define SLUICE_TOOLS_SVG_CHART_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace sluice::tools {

// For text between tags, and in quoted attributes.
std::string EscapeHtml(absl::string_view text);

struct SvgChart {
  struct Axis {
    std::string title = {};                         // with the unit
    std::function<std::string(double)> label = {};  // of a tick
    bool logarithmic = false;                       // values are positive; else it begins at 0
    std::vector<double> ticks = {};                 // chosen, where there are none
  };
  struct Line {
    std::string name = {};  // in the legend, where there are several
    std::vector<std::pair<double, double>> points = {};
    bool dashed = false;
    bool bars = false;  // each from its x to that of the next; the last point has none of its own
  };

  std::string id = {};     // unique in the page
  std::string title = {};  // these two are for who does not see it
  std::string description = {};
  Axis x = {};
  Axis y = {};
  std::vector<Line> lines = {};

  std::string Render() const;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_SVG_CHART_H_
