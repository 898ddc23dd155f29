// InputThread reads a descriptor that may block (standard input: a terminal, a pipe, a file) on a
// thread of its own, for a loop that must not block. It reads one piece, waits until that was used
// up, and only then reads the next, so it holds back who writes to it.
//
// Example:
//   InputThread input(STDIN_FILENO, loop, [&](absl::StatusOr<absl::string_view> piece) {
//     ...                     // an empty piece is the end
//     input.Continue();
//   });
//   input.Continue();
//
// Loop-bound. Destroy it when the loop no longer runs: what it has posted must not run after that.
#ifndef SLUICE_TOOLS_INPUT_THREAD_H_
#define SLUICE_TOOLS_INPUT_THREAD_H_

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/core/event_loop.h"

namespace sluice::tools {

class InputThread {
 public:
  static constexpr size_t kMaxPiece = 64 * 1024;

  // Called on the loop's thread, once for each Continue: with a piece, with an empty one at the
  // end, or with what read(2) had to say. After those two nothing more is read.
  using OnPiece = absl::AnyInvocable<void(absl::StatusOr<absl::string_view>)>;

  InputThread(int descriptor, EventLoop& loop, OnPiece on_piece);
  ~InputThread();
  InputThread(const InputThread&) = delete;
  InputThread& operator=(const InputThread&) = delete;

  // Reads a piece.
  void Continue();

 private:
  void Run();
  // Waits until the descriptor has something to read. False when it is time to go.
  bool AwaitReadable();
  void Deliver(absl::StatusOr<absl::string_view> piece);

  const int descriptor_;
  EventLoop& loop_;
  OnPiece on_piece_;
  int wake_[2];  // a pipe: written once, in the destructor
  std::string buffer_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false;  // both under mutex_
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_INPUT_THREAD_H_
