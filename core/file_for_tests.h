// FileForTests is a file of a test's, gone when the test is over.
//
// Example:
//   const FileForTests file("hello");
//   file.SendOn(stream);
#ifndef SLUICE_CORE_FILE_FOR_TESTS_H_
#define SLUICE_CORE_FILE_FOR_TESTS_H_

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"

namespace sluice::test {

class FileForTests {
 public:
  explicit FileForTests(absl::string_view contents) : path_(testing::TempDir() + "/file_XXXXXX") {
    close(mkstemp(path_.data()));
    Write(contents);
  }
  ~FileForTests() { unlink(path_.c_str()); }
  FileForTests(const FileForTests&) = delete;
  FileForTests& operator=(const FileForTests&) = delete;

  const std::string& path() const { return path_; }
  size_t size() const { return size_; }
  int Open(int flags) const {
    const int fd = open(path_.c_str(), flags | O_CLOEXEC);
    EXPECT_GE(fd, 0) << path_;
    return fd;
  }
  // All of it, by a descriptor that does not outlive the call.
  absl::StatusOr<SendResult> SendOn(Stream& stream) const {
    const int fd = Open(O_RDONLY);
    absl::StatusOr<SendResult> result = stream.SendFile(fd, 0, size_);
    close(fd);
    return result;
  }

  // Another size than it had.
  void Truncate(size_t size) const {
    EXPECT_EQ(truncate(path_.c_str(), static_cast<off_t>(size)), 0);
  }

 private:
  void Write(absl::string_view contents) {
    size_ = contents.size();
    const int fd = Open(O_WRONLY);
    while (!contents.empty()) {
      const ssize_t n = write(fd, contents.data(), contents.size());
      EXPECT_GT(n, 0) << path_;
      if (n <= 0) break;
      contents.remove_prefix(static_cast<size_t>(n));
    }
    close(fd);
  }

  std::string path_;
  size_t size_ = 0;
};

}  // namespace sluice::test

#endif  // SLUICE_CORE_FILE_FOR_TESTS_H_
