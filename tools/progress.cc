#include "sluice/tools/progress.h"

#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

constexpr absl::string_view kEraseLine = "\r\x1b[K";

// The front of `text` that fits in `columns`.
absl::string_view Cut(absl::string_view text, size_t columns) {
  size_t end = text.size();
  while (DisplayWidth(text.substr(0, end)) > columns) --end;
  return text.substr(0, end);
}

void Print(std::FILE* file, absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

}  // namespace

void Progress::Show(absl::string_view line) {
  if (!terminal_.interactive) {
    Print(file_, absl::StrCat(line, "\n"));
    return;
  }
  // Not into the last column: some terminals then begin a new line.
  Print(file_, absl::StrCat(kEraseLine, Cut(line, static_cast<size_t>(terminal_.columns) - 1)));
  shown_ = true;
}

void Progress::Clear() {
  if (shown_) Print(file_, kEraseLine);
  shown_ = false;
}

}  // namespace sluice::tools
