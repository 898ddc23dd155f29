// LoadWorker is the part of a Load that lives on one loop: its connections, from opening to
// closing.
//
// It goes through phases; each but the first begins when told or when the one before is over:
//   opening     connects, some at a time
//   ready       each connection is open or has failed; waits for Run
//   running     keeps `pipeline` messages in flight on each, for `duration` or until Finish
//   finishing   waits for the answers that are missing, and closes
//   done        no connection is left
//
// Loop-bound, except progress().
#ifndef SLUICE_TOOLS_LOAD_WORKER_H_
#define SLUICE_TOOLS_LOAD_WORKER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/timer.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/message_pattern.h"

namespace sluice::tools {

class LoadWorker {
 public:
  // What other threads may read meanwhile.
  struct Progress {
    std::atomic<uint64_t> messages{0};
    std::atomic<uint64_t> errors{0};
    std::atomic<int> open{0};
  };

  // Its connections are number `first` to `first + count - 1` of the load. The functions are called
  // once each, on the loop's thread, and never from inside a call of the worker. Options and
  // pattern must outlive it.
  LoadWorker(EventLoop& loop, const LoadOptions& options, const MessagePattern& pattern,
             std::unique_ptr<ClientFactory> clients, int first, int count,
             absl::AnyInvocable<void()> on_ready, absl::AnyInvocable<void()> on_done);
  ~LoadWorker();
  LoadWorker(const LoadWorker&) = delete;
  LoadWorker& operator=(const LoadWorker&) = delete;

  // After on_ready.
  void Run();
  // Ends running; earlier, what is opening is given up.
  void Finish();

  const Progress& progress() const { return progress_; }
  LoadResult TakeResult();

 private:
  class Connection;
  enum class ConnectionState : uint8_t {
    kNew,
    kConnecting,
    kHandshaking,
    kOpen,
    kEnding,  // by us, or by an error that was counted; its OnClose follows
    kGone,
  };
  enum class Phase : uint8_t { kOpening, kReady, kRunning, kFinishing, kDone };

  void CheckPhase();
  void OnPhaseTimeout();
  void CheckDeadlines();
  void ArmTick();
  int* CounterOf(ConnectionState state);

  // From connections.
  void OnChange(ConnectionState before, ConnectionState after);
  void OnAnswer(MonotonicTime sent, MonotonicTime now);
  void OnError(LoadErrors::Kind kind, absl::string_view what);
  bool sending() const { return phase_ == Phase::kRunning; }

  EventLoop& loop_;
  const LoadOptions& options_;
  const MessagePattern& pattern_;
  const std::unique_ptr<ClientFactory> clients_;
  absl::AnyInvocable<void()> on_ready_;
  absl::AnyInvocable<void()> on_done_;

  Phase phase_ = Phase::kOpening;
  std::vector<std::unique_ptr<Connection>> connections_;
  size_t next_ = 0;  // to connect
  int opening_ = 0;  // connections, by state
  int open_ = 0;
  int ending_ = 0;
  MonotonicTime began_;
  MonotonicTime last_answer_;
  LoadResult result_;
  Progress progress_;
  Timer check_;  // CheckPhase, soon
  Timer tick_;   // looks for late answers
  Timer end_;    // of running, then of closing
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_WORKER_H_
