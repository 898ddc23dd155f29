// Pipe carries bytes from one socket to another inside the kernel (splice(2)): what is received
// into it is in no memory of this process. PipePool keeps the pipes of one engine, no more of them
// than a process can spare. A pipe is lent only while bytes are in it: who has passed them on gives
// it back by destroying the PipePtr, and who gives up closes it in the same way.
//
// Loop-bound; the pool outlives the pipes that it has lent.
#ifndef SLUICE_CORE_INTERNAL_PIPE_H_
#define SLUICE_CORE_INTERNAL_PIPE_H_

#include <cerrno>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "sluice/core/internal/unique_fd.h"

namespace sluice {

class Buffer;

}  // namespace sluice

namespace sluice::internal {

class PipePool;

class Pipe {
 public:
  Pipe(PipePool& pool, UniqueFd out, UniqueFd in)
      : pool_(pool), out_(std::move(out)), in_(std::move(in)) {}

  int in() const { return in_.get(); }    // where bytes enter
  int out() const { return out_.get(); }  // and leave
  size_t size() const { return size_; }
  void Added(size_t bytes) { size_ += bytes; }
  void Removed(size_t bytes) { size_ -= bytes; }

  // Moves all bytes to the end of `buffer`, for where they cannot leave by themselves.
  void ReadTo(Buffer& buffer);

 private:
  friend struct ReturnPipe;

  PipePool& pool_;
  const UniqueFd out_, in_;
  size_t size_ = 0;
};

struct ReturnPipe {
  void operator()(Pipe* pipe) const;
};
using PipePtr = std::unique_ptr<Pipe, ReturnPipe>;

// Who gets what a socket receives in pipes.
class PipeReceiver {
 public:
  virtual void OnReceivePipe(PipePtr pipe) = 0;

 protected:
  ~PipeReceiver() = default;
};

class PipePool {
 public:
  // Each has two descriptors, and Linux lets the processes of one user have 64 MiB of pipes.
  static constexpr size_t kMostLent = 64;
  static constexpr size_t kMostIdle = 16;
  // What a pipe holds, and so what is received at once. In frames of a network one has room for a
  // quarter of that, since a piece of a page takes the place of one.
  static constexpr int kBytes = 512 * 1024;

  // An empty pipe. Null where there is none to be had: too many are lent, the system has no
  // descriptors or memory left for one, or no splice(2), or has refused one.
  PipePtr Take();

  // The system does not splice what it was asked to. There are no more pipes from now on, unless
  // it was for want of memory (ENOMEM), which passes.
  void RefuseAfter(int error) { refused_ = refused_ || error != ENOMEM; }

 private:
  friend struct ReturnPipe;

  void Return(std::unique_ptr<Pipe> pipe);

  std::vector<std::unique_ptr<Pipe>> idle_;
  size_t lent_ = 0;
  bool refused_ = false;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_PIPE_H_
