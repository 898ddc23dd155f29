// EventLoop runs, on one thread, everything that belongs to it: the streams, listeners and
// connectors made on it, its timers, and functions posted to it from other threads. It owns an I/O
// engine (Poller) and a TimerWheel. It is not a thread pool: a callback that blocks or computes for
// long holds up everything else on the loop.
//
// Example:
//   std::unique_ptr<EventLoop> loop = *EventLoop::Create();
//   Timer tick([&] { loop->Stop(); });
//   loop->ArmTimer(tick, absl::Milliseconds(10));
//   std::thread other([&] { loop->Post([] { /* on the loop's thread */ }); });
//   loop->Run();
//   other.join();
//
// One turn: wait for I/O and deliver its events; run the timers that are due; run what was posted;
// then, once for each stream concerned, send what was gathered and deliver OnSendReady and OnClose.
// A turn's work is bounded: posts made while posts run, and timers armed while timers run, wait for
// the next turn.
//
// Thread-safe: Post, Stop, and the counters. Everything else is loop-bound: to be called on the
// thread that runs the loop, or before it runs.
//
// Lifetime: the loop must outlive the calls of Post and Stop that other threads make, to their
// return: it may run, and end by, what was posted before Post has returned (join the threads, or
// let them tell that they are done). Listeners and connectors must be gone before their loop.
// Streams that are still there when the loop is destroyed get OnClose(kCancelled), and UdpSockets
// are closed.
#ifndef SLUICE_CORE_EVENT_LOOP_H_
#define SLUICE_CORE_EVENT_LOOP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/optimization.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/poller.h"
#include "sluice/core/timer.h"

namespace sluice {

class EventLoop {
 public:
  // What has happened so far; monotonic unless said otherwise. Read from any thread.
  struct Counters {
    uint64_t turns = 0;
    uint64_t io_events = 0;
    uint64_t timers = 0;
    uint64_t posts = 0;
    uint64_t streams = 0;  // open now, UdpSockets among them
  };

  // Makes a loop with an engine of that kind. Errors: as CreatePoller.
  static absl::StatusOr<std::unique_ptr<EventLoop>> Create(PollerKind kind = PollerKind::kAuto);

  // A loop over an engine of the caller's, such as a simulated one.
  explicit EventLoop(std::unique_ptr<Poller> poller);
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  // Runs turns until Stop. The calling thread becomes the loop's. Neither this nor the two below
  // may be called while one of them runs, so not from a callback.
  void Run();

  // Runs turns until `done` returns true, asked after each, or until `timeout` has passed on the
  // loop's clock. Returns what `done` returned last. For tests and for set-up code.
  bool RunUntil(absl::FunctionRef<bool()> done, absl::Duration timeout = absl::InfiniteDuration());

  // One turn. Waits for at most `max_wait` for something to happen.
  void RunOnce(absl::Duration max_wait);

  // Makes Run return when the current turn ends, or, when it does not run, the next Run at once.
  // Thread-safe.
  void Stop();

  // Runs `function` on the loop's thread in a coming turn; those of one thread in their order.
  // Lock-free. What is posted and has not run when the loop is destroyed is destroyed unrun.
  // Thread-safe.
  void Post(absl::AnyInvocable<void()> function);

  // The engine's clock, read once a turn. NowExact reads it anew.
  MonotonicTime now() const {
    if (ABSL_PREDICT_FALSE(now_is_old_)) ReadClock();
    return now_;
  }
  MonotonicTime NowExact();

  // Timers run after I/O in the turn in which they are due. A duration counts from now(), and while
  // the loop does not run, from the time at which this is called.
  void ArmTimer(TimerNode& timer, absl::Duration after);
  void ArmTimer(TimerNode& timer, MonotonicTime at) { timers_.Arm(timer, at); }
  void CancelTimer(TimerNode& timer) { timers_.Cancel(timer); }

  // When the loop has something to do though no event comes: the time of its next timer, or the
  // past when a function is posted or a stream has to be settled. For who runs several loops on one
  // thread.
  MonotonicTime NextWork() const;

  // Asks every open stream, and UdpSocket, to finish: OnDrain for each, at the end of this turn.
  // Connects under way are given up, with kCancelled (a ConnectFunction that
  // connects again at once on that code keeps the drain from ending). What is still open after
  // `timeout`, and what is opened later, is aborted with kDeadlineExceeded. `done` runs when no
  // stream is left. Close listeners first. One drain at a time; a second replaces the first one's
  // `done` and deadline.
  void Drain(absl::Duration timeout, absl::AnyInvocable<void()> done);

  // From Drain until its `done`.
  bool draining() const { return drain_ != nullptr; }

  Counters counters() const;

  Poller& poller() { return *poller_; }

  // Busy polling: for so long after something has happened (an event, a timer, a post) the loop
  // looks for more again and again before it sleeps. What comes meanwhile is served some
  // microseconds sooner, which waking a sleeping thread takes, and a Post needs no system call. It
  // costs the whole core for that long, and gains nothing where loops share a core with others, or
  // with those that they talk to. Zero, the default, for never; after InfiniteDuration() it
  // never sleeps again, once something has happened. Nothing changes in the order of things; a
  // simulated clock knows no waiting, and so nothing at all.
  void SetBusyPoll(absl::Duration duration);

  // True on the thread that runs the loop, and on any while none does.
  bool InLoopThread() const;

  // The base of what lives on a loop and has a socket. For implementers of transports; see
  // member.h.
  class Member;

 private:
  friend class LoopGroup;
  friend class SignalWatcher;

  // A function on its way to the loop; also embedded by SignalWatcher, since a signal handler may
  // not allocate.
  struct Posted {
    virtual ~Posted() = default;
    virtual void Run() = 0;  // and destroys itself, where it was allocated
    virtual void Discard() = 0;
    Posted* next = nullptr;
  };
  struct PostedFunction;
  struct Link;
  struct Members;
  struct DrainState;
  class Running;

  // Lock-free and async-signal-safe.
  void Push(Posted& posted);
  void RunPosted();
  void RunTurn(MonotonicTime wait_until);
  size_t AwaitEvents(MonotonicTime wait_until);
  size_t PollBusily(MonotonicTime until);
  void ReadClock() const;
  void SettleMembers();
  void VisitMembers(absl::FunctionRef<void(Member&)> visit);
  void EndMembers();
  void AskToDrain();
  void CheckDrained();

  std::unique_ptr<Poller> poller_;
  mutable MonotonicTime now_;
  // The engine waits, or has waited and reports events: whoever asks first reads the clock.
  mutable bool now_is_old_ = false;
  absl::Duration busy_poll_;
  MonotonicTime busy_until_;
  Member* running_ = nullptr;  // the member whose user is being called
  std::unique_ptr<Members> members_;
  TimerWheel timers_;
  std::unique_ptr<DrainState> drain_;

  // What other threads have posted, newest first; Sleeping() while the loop waits and nothing was
  // posted.
  std::atomic<Posted*> posted_{nullptr};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> thread_{0};  // the one that runs the loop, 0 for none

  // Written by the loop's thread only.
  struct AtomicCounters {
    std::atomic<uint64_t> turns{0}, io_events{0}, timers{0}, posts{0}, streams{0};
  };
  AtomicCounters counters_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_EVENT_LOOP_H_
