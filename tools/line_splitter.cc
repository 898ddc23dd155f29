#include "sluice/tools/line_splitter.h"

#include "absl/strings/str_cat.h"

namespace sluice::tools {

bool LineSplitter::Add(absl::string_view piece, OnLine on_line) {
  for (;;) {
    const size_t end = piece.find('\n');
    const absl::string_view part = piece.substr(0, end);
    if (begun_.size() + part.size() > max_line_bytes_) return false;
    if (end == absl::string_view::npos) {
      absl::StrAppend(&begun_, part);
      return true;
    }
    if (begun_.empty()) {
      on_line(part);
    } else {
      absl::StrAppend(&begun_, part);
      on_line(begun_);
      begun_.clear();
    }
    piece.remove_prefix(end + 1);
  }
}

void LineSplitter::End(OnLine on_line) {
  if (!begun_.empty()) on_line(begun_);
  begun_.clear();
}

}  // namespace sluice::tools
