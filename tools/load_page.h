// LoadPage makes one self-contained HTML page of what came of a load: pictures over time, of the
// latencies and of what the server used, and tables. It has no script and asks for nothing else; it
// is light or dark as the reader's system is, and fits narrow screens.
//
// Example:
//   LoadPage page = {.title = "ws://127.0.0.1:9000/", .noun = "messages"};
//   page.figures.push_back({"messages/s", "247 k"});
//   std::string html = page.Render(result.latency, result.series);
//
// Thread-compatible. All text is escaped.
#ifndef SLUICE_TOOLS_LOAD_PAGE_H_
#define SLUICE_TOOLS_LOAD_PAGE_H_

#include <string>
#include <vector>

#include "sluice/tools/histogram.h"
#include "sluice/tools/load_series.h"

namespace sluice::tools {

struct LoadPage {
  struct Row {
    std::string name;
    std::string value;
  };

  std::string title = {};
  std::string subtitle = {};
  std::string noun = {};                   // what was answered, in the plural
  std::vector<Row> figures = {};           // the most important ones
  std::vector<std::string> warnings = {};  // sentences
  std::vector<Row> results = {};
  std::vector<Row> configuration = {};

  // `latency` is of all answers, `series` of the same over time.
  std::string Render(const Histogram& latency, const LoadSeries& series) const;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_PAGE_H_
