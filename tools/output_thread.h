// OutputThread writes to a descriptor that may block (standard output) on a thread of its own, for
// a loop that must not block. What waits to be written has a high mark, at which its user should
// stop until told to go on.
//
// Example:
//   OutputThread output(STDOUT_FILENO, loop, [&](absl::Status) { client.ResumeReceiving(); });
//   if (!output.Write("text")) client.PauseReceiving();
//
// Loop-bound. Destroy it when the loop no longer runs; the destructor writes what is left, unless
// writing has failed.
#ifndef SLUICE_TOOLS_OUTPUT_THREAD_H_
#define SLUICE_TOOLS_OUTPUT_THREAD_H_

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "sluice/core/event_loop.h"

namespace sluice::tools {

class OutputThread {
 public:
  static constexpr size_t kHighMark = 256 * 1024;

  // Called on the loop's thread: with OK after each Write that answered false, once what waited was
  // written; with an error, once, when writing has failed.
  using OnReady = absl::AnyInvocable<void(absl::Status)>;

  OutputThread(int descriptor, EventLoop& loop, OnReady on_ready);
  ~OutputThread();
  OutputThread(const OutputThread&) = delete;
  OutputThread& operator=(const OutputThread&) = delete;

  // Takes the text in any case. False: stop until told to go on.
  bool Write(absl::string_view text);

  // Writes what is left, as the destructor does, and tells how writing went. Nothing may be written
  // after it.
  absl::Status Finish();

 private:
  void Run();
  absl::Status WriteAll(absl::string_view text);

  const int descriptor_;
  EventLoop& loop_;
  OnReady on_ready_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string waiting_;      // the rest is under mutex_
  bool is_awaited_ = false;  // on_ready is owed
  bool finished_ = false;
  absl::Status status_;
  std::thread thread_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_OUTPUT_THREAD_H_
