#include "sluice/tools/wrap.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace sluice::tools {

std::string Wrap(absl::string_view text, size_t columns, size_t indent) {
  std::string result;
  size_t column = 0;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column != 0 && column + 1 + word.size() > columns) {
      absl::StrAppend(&result, "\n", std::string(indent, ' '));
      column = 0;
    } else if (column != 0) {
      result += ' ';
      ++column;
    }
    absl::StrAppend(&result, word);
    column += word.size();
  }
  return result;
}

}  // namespace sluice::tools
