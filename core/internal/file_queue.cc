#include "sluice/core/internal/file_queue.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "of an unknown kind";
}

// kInvalidArgument unless `fd` is a regular file that can be read; its size.
absl::StatusOr<uint64_t> SizeOf(int fd) {
  const auto refuse = [fd](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("send file: descriptor ", fd, " is ", what,
                                                   "; it must be a regular file, open to be read"));
  };
  struct stat info;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &info) != 0) return refuse("not open");
  if (!S_ISREG(info.st_mode)) return refuse(KindOf(info.st_mode));
  if ((flags & O_ACCMODE) == O_WRONLY) return refuse("open for writing only");
#ifdef O_PATH
  if ((flags & O_PATH) != 0) return refuse("open as a path only");
#endif
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace

ssize_t ReadAt(int file, uint64_t offset, absl::Span<uint8_t> out) {
  for (;;) {
    const ssize_t n = pread(file, out.data(), out.size(), static_cast<off_t>(offset));
    if (n >= 0 || errno != EINTR) return n;
  }
}

absl::StatusOr<FileRange> FileRange::Of(int fd, uint64_t offset, uint64_t length) {
  const absl::StatusOr<uint64_t> size = SizeOf(fd);
  if (!size.ok()) return size.status();
  if (offset > *size || length > *size - offset) {
    return absl::OutOfRangeError(absl::StrCat("send file: ", length, " bytes from ", offset,
                                              " on go past the end of a file of ", *size));
  }
  if (length > std::numeric_limits<size_t>::max())
    return absl::OutOfRangeError(absl::StrCat("send file: ", length, " bytes are too many"));
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return SystemError(errno, "send file", absl::StrCat("descriptor ", fd));
  return FileRange(own, offset, length);
}

bool FileRange::ReadTo(Buffer& out, size_t most) {
  const size_t wanted = static_cast<size_t>(std::min<uint64_t>(most, left_));
  const ssize_t n = ReadAt(fd(), offset_, out.Reserve(wanted).first(wanted));
  if (n < 0) error_ = errno;
  out.Commit(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (n <= 0) return false;
  Advance(static_cast<uint64_t>(n));
  return true;
}

absl::Status FileRange::Failure(absl::string_view peer) const {
  if (error_ != 0) return SystemError(error_, "send file: read", peer);
  return absl::DataLossError(absl::StrCat(peer,
                                          ": send file: the file was cut short: it ends before ",
                                          offset_, ", and ", left_, " more bytes were promised"));
}

absl::Status FileQueue::MayPush() const {
  if (entries_.size() < kMostFiles) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("send file: ", kMostFiles, " files are queued already, and no more may be"));
}

size_t FileQueue::bytes() const {
  size_t bytes = memory();
  for (const Entry& entry : entries_) bytes += static_cast<size_t>(entry.file.left());
  return bytes;
}

size_t FileQueue::memory() const {
  size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.before.size();
  return bytes;
}

}  // namespace sluice::internal
