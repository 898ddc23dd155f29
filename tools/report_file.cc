#include "sluice/tools/report_file.h"

#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace sluice::tools {

absl::StatusOr<ReportFile> ReportFile::Open(const std::string& name) {
  std::FILE* const file = std::fopen(name.c_str(), "ae");
  if (file == nullptr) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", name));
  return ReportFile(name, file);
}

absl::Status ReportFile::Write(absl::string_view text) {
  std::FILE* const file = file_.get();
  // A pipe or a device has no length.
  const bool emptied = ftruncate(fileno(file), 0) == 0 || errno == EINVAL;
  const bool written = emptied && std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
                       std::fflush(file) == 0;
  const int error = errno;
  return written ? absl::OkStatus()
                 : absl::ErrnoToStatus(error, absl::StrCat("cannot write ", name_));
}

}  // namespace sluice::tools
