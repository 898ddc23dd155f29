#include "sluice/tools/table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

constexpr size_t kGap = 2;

std::string Repeat(absl::string_view text, size_t times) {
  std::string result;
  while (times-- > 0) absl::StrAppend(&result, text);
  return result;
}

}  // namespace

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(rows_[0].size());
  rows_.push_back(std::move(cells));
}

std::string Table::Render(const Terminal& terminal) const {
  std::vector<size_t> widths(rows_[0].size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - DisplayWidth(row[i]), ' ');
      if (i == 0) {
        absl::StrAppend(&line, row[i], padding);
      } else {
        absl::StrAppend(&line, std::string(kGap, ' '), padding, row[i]);
      }
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
    if (&row == &rows_[0]) {
      size_t total = kGap * (widths.size() - 1);
      for (size_t width : widths) total += width;
      absl::StrAppend(&text, Repeat(terminal.unicode ? "─" : "-", total), "\n");
    }
  }
  return text;
}

}  // namespace sluice::tools
