// Progress shows how long work is getting on: on a terminal one line that is written over and over,
// elsewhere (a log) a plain line every few seconds. It starts no thread: its user calls Show every
// interval().
//
// Example:
//   Progress progress(stderr, DetectTerminal(stderr));
//   while (!done.WaitFor(progress.interval())) progress.Show(absl::StrCat(count, " so far"));
//
// Thread-compatible. The destructor removes the live line, so that what is printed next stands
// alone.
#ifndef SLUICE_TOOLS_PROGRESS_H_
#define SLUICE_TOOLS_PROGRESS_H_

#include <cstdio>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/tools/terminal.h"

namespace sluice::tools {

class Progress {
 public:
  Progress(std::FILE* file, const Terminal& terminal) : file_(file), terminal_(terminal) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { Clear(); }

  absl::Duration interval() const {
    return terminal_.interactive ? absl::Milliseconds(200) : absl::Seconds(2);
  }

  // One line without a newline; on a terminal cut to its width.
  void Show(absl::string_view line);

  // Removes the live line, before something else is printed.
  void Clear();

 private:
  std::FILE* file_;
  const Terminal terminal_;
  bool shown_ = false;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_PROGRESS_H_
