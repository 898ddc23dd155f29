// FakeProc is a folder with what Linux would tell in /proc of one process, 42, for tests of what
// reads that.
//
// Example:
//   FakeProc proc;
//   absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(FakeProc::kPid, proc.path());
//   proc.WriteStat({.user = 250, .system = 75});  // in ticks
//
// To be used in a test of gtest's, which the folder is named after. Thread-compatible.
#ifndef SLUICE_TOOLS_FAKE_PROC_H_
#define SLUICE_TOOLS_FAKE_PROC_H_

#include <string>

#include "absl/strings/string_view.h"

namespace sluice::tools {

class FakeProc {
 public:
  static constexpr int kPid = 42;

  struct Stat {
    absl::string_view name = "server";
    int user = 150;
    int system = 50;
    int start = 7000;
  };

  // Its memory is 1000 KiB, exactly 1004 KiB, and was 3000 KiB.
  FakeProc();

  const std::string& path() const { return path_; }

  // Files of the process.
  void Write(absl::string_view name, absl::string_view text);
  void WriteStat(const Stat& stat);
  void Remove(absl::string_view name);

 private:
  std::string PathOf(absl::string_view name) const;

  std::string path_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_FAKE_PROC_H_
