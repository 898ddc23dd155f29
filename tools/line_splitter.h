// LineSplitter cuts text that comes in pieces into lines, without their line feeds.
//
// Example:
//   LineSplitter splitter(1024);
//   splitter.Add("one\ntw", [](absl::string_view line) { ... });       // one
//   splitter.End([](absl::string_view line) { ... });                  // tw
//
// Thread-compatible. Holds at most `max_line_bytes`.
#ifndef SLUICE_TOOLS_LINE_SPLITTER_H_
#define SLUICE_TOOLS_LINE_SPLITTER_H_

#include <cstddef>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace sluice::tools {

class LineSplitter {
 public:
  using OnLine = absl::FunctionRef<void(absl::string_view line)>;

  explicit LineSplitter(size_t max_line_bytes) : max_line_bytes_(max_line_bytes) {}

  // False when a line is longer than the limit; the lines before it were delivered, and nothing
  // more may be added.
  bool Add(absl::string_view piece, OnLine on_line);

  // The last line, if the text did not end with a line feed.
  void End(OnLine on_line);

 private:
  const size_t max_line_bytes_;
  std::string begun_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LINE_SPLITTER_H_
