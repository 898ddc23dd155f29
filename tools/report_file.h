// ReportFile is a file that a command will write when it is done. It is opened before, so that a
// name that cannot be written is told at once, and not after the work.
//
// Example:
//   absl::StatusOr<ReportFile> file = ReportFile::Open("report.html");
//   ... the work ...
//   absl::Status status = file->Write(html);
//
// Thread-compatible. A new file to which nothing was written stays, empty.
#ifndef SLUICE_TOOLS_REPORT_FILE_H_
#define SLUICE_TOOLS_REPORT_FILE_H_

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice::tools {

class ReportFile {
 public:
  // What is in the file stays until Write. Errors name it, and what is wrong.
  static absl::StatusOr<ReportFile> Open(const std::string& name);

  // Once.
  absl::Status Write(absl::string_view text);

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  ReportFile(std::string name, std::FILE* file) : name_(std::move(name)), file_(file) {}

  std::string name_;
  std::unique_ptr<std::FILE, Closer> file_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_REPORT_FILE_H_
