// Table lines up text in columns: the first to the left, the others to the right.
//
// Example:
//   Table table({"", "messages", "rate"});
//   table.AddRow({"ws://…", "1,000", "5 k/s"});
//   std::fputs(table.Render(terminal).c_str(), stdout);
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_TABLE_H_
#define SLUICE_TOOLS_TABLE_H_

#include <string>
#include <vector>

#include "sluice/tools/terminal.h"

namespace sluice::tools {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}

  // Cells that are missing are empty; there must not be more than in the header.
  void AddRow(std::vector<std::string> cells);

  // With a rule under the header; each line ends with a newline.
  std::string Render(const Terminal& terminal) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_TABLE_H_
