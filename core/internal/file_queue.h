// FileQueue is what a stream has to send ahead of its ordinary queue once a file was sent on it: in
// order, bytes and the file behind them, more bytes and the next file. The bytes behind the last
// file are not here but in the stream's own Buffer, so that sending them knows nothing of files.
//
//   SendFile        files.Push(std::move(queue), *FileRange::Of(fd, offset, length));
//   to be sent      files.before(), files.file(), Pop; and so on; when it is empty, the Buffer
//
// Thread-compatible.
#ifndef SLUICE_CORE_INTERNAL_FILE_QUEUE_H_
#define SLUICE_CORE_INTERNAL_FILE_QUEUE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/unique_fd.h"

namespace sluice::internal {

// pread(2), again where it was interrupted.
ssize_t ReadAt(int file, uint64_t offset, absl::Span<uint8_t> out);

// What is left to be sent of a part of a regular file. Owns a descriptor.
class FileRange {
 public:
  // Duplicates `fd`. Errors, which name what is wrong: kInvalidArgument (not open, not for reading,
  // no regular file), kOutOfRange (past the end of the file), kResourceExhausted (no descriptors).
  static absl::StatusOr<FileRange> Of(int fd, uint64_t offset, uint64_t length);

  int fd() const { return fd_.get(); }
  uint64_t offset() const { return offset_; }
  uint64_t left() const { return left_; }
  void Advance(uint64_t bytes) {
    offset_ += bytes;
    left_ -= bytes;
  }

  // Moves the next bytes, one at least and `most` at most, to the end of `out`. False when that
  // fails.
  bool ReadTo(Buffer& out, size_t most);

  // Why the stream to `peer` ends: kDataLoss, as the file is shorter than it was; or, where ReadTo
  // was told something else, what the system says.
  absl::Status Failure(absl::string_view peer) const;

 private:
  FileRange(int fd, uint64_t offset, uint64_t length) : fd_(fd), offset_(offset), left_(length) {}

  UniqueFd fd_;
  uint64_t offset_;
  uint64_t left_;
  int error_ = 0;  // of reading
};

class FileQueue {
 public:
  // Each has a descriptor open.
  static constexpr size_t kMostFiles = 64;

  bool empty() const { return entries_.empty(); }
  // OK, or kResourceExhausted when no further one may be queued.
  absl::Status MayPush() const;
  void Push(Buffer before, FileRange file) {
    entries_.push_back({std::move(before), std::move(file)});
  }

  // What leaves first, and then what leaves when that is empty.
  Buffer& before() { return entries_.front().before; }
  FileRange& file() { return entries_.front().file; }
  void Pop() { entries_.erase(entries_.begin()); }

  // All of it, and what of that lies in memory.
  size_t bytes() const;
  size_t memory() const;

 private:
  struct Entry {
    Buffer before;
    FileRange file;
  };

  std::vector<Entry> entries_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_FILE_QUEUE_H_
