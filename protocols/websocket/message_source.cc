#include "sluice/protocols/websocket/message_source.h"

#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sluice::websocket {

std::unique_ptr<FileSource> FileSource::Take(int descriptor, uint64_t offset, uint64_t bytes) {
  return std::unique_ptr<FileSource>(new FileSource(descriptor, offset, bytes));
}

FileSource::~FileSource() { close(descriptor_); }

absl::StatusOr<size_t> FileSource::Read(absl::Span<uint8_t> to) {
  if (left_ < to.size()) to = to.first(static_cast<size_t>(left_));
  if (to.empty()) return 0;
  ssize_t read;
  do {
    read = pread(descriptor_, to.data(), to.size(), static_cast<off_t>(offset_));
  } while (read < 0 && errno == EINTR);
  if (read < 0) return absl::ErrnoToStatus(errno, absl::StrCat("reading a file at byte ", offset_));
  if (read == 0 && left_ != kToTheEnd)
    return absl::OutOfRangeError(
        absl::StrCat("a file ends at byte ", offset_, ", ", left_, " bytes too early"));
  offset_ += static_cast<uint64_t>(read);
  if (left_ != kToTheEnd) left_ -= static_cast<uint64_t>(read);
  return static_cast<size_t>(read);
}

}  // namespace sluice::websocket
