// LoadWorker is the part of a Load that lives on one loop: its connections, from opening to
// closing.
//
// It goes through phases; each but the first begins when told or when the one before is over:
//   opening     connects, some at a time, as also later those that are renewed
//   ready       each connection is open or has failed; waits for Run
//   running     sends messages (load_connection.h says when), for `warm_up`, of which nothing is
//               counted, and `duration`, or until Finish
//   finishing   waits for the answers that are missing, and closes
//   done        no connection is left
//
// In an open loop a timer sends all that has become due since it ran last, each time that a message
// is due; it comes up to 0.1 ms late (TimerWheel::kResolution, and what the system adds), and the
// latencies have that in them.
//
// Loop-bound.
#ifndef SLUICE_TOOLS_LOAD_WORKER_H_
#define SLUICE_TOOLS_LOAD_WORKER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/timer.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/load_connection.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/message_pattern.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

class LoadWorker final : private LoadConnection::Owner {
 public:
  struct Progress {
    uint64_t messages = 0;
    uint64_t errors = 0;
    int open = 0;
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

  Progress progress() const;
  const Histogram& latency() const { return shared_.result.latency; }
  LoadResult TakeResult();

 private:
  enum class Phase : uint8_t { kOpening, kReady, kRunning, kFinishing, kDone };

  void CheckPhase();
  void ConnectSome();
  void OnPhaseTimeout();
  void CheckDeadlines();
  void ArmTick();
  void SendWhatIsDue(MonotonicTime now);
  int* CounterOf(LoadConnection::State state);

  // LoadConnection::Owner:
  void OnChange(LoadConnection::State before, LoadConnection::State after) override;
  void OnError(LoadErrors::Kind kind, absl::string_view what) override;
  void OnRenewal(LoadConnection& connection) override;

  EventLoop& loop_;
  const LoadOptions& options_;
  const std::unique_ptr<ClientFactory> clients_;
  absl::AnyInvocable<void()> on_ready_;
  absl::AnyInvocable<void()> on_done_;

  Phase phase_ = Phase::kOpening;
  LoadConnection::Shared shared_;
  std::vector<std::unique_ptr<LoadConnection>> connections_;
  std::deque<LoadConnection*> waiting_;  // to connect
  int opening_ = 0;                      // connections, by state
  int open_ = 0;
  int ending_ = 0;
  MonotonicTime began_;  // after the warm-up
  uint64_t due_ = 0;     // open loop: messages so far
  Timer check_;          // CheckPhase, soon
  Timer tick_;           // looks for late answers
  Timer end_;            // of running, then of closing
  Timer pace_;           // open loop: a message is due
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_WORKER_H_
