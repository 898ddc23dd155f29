// UniqueFd is a descriptor that is closed with its owner.
#ifndef SLUICE_CORE_INTERNAL_UNIQUE_FD_H_
#define SLUICE_CORE_INTERNAL_UNIQUE_FD_H_

#include <unistd.h>

namespace sluice::internal {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      if (fd_ >= 0) close(fd_);
      fd_ = other.Release();
    }
    return *this;
  }
  ~UniqueFd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_UNIQUE_FD_H_
