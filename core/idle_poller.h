// IdlePoller is an engine without I/O, for tests of what an EventLoop does by itself: its clock
// stands still until the test moves it, Wait returns at once, and it counts what the loop asks of
// it. Nothing can listen or connect on it. VirtualLoop (stream_testing.h) has one whose Wait lets
// the time pass.
//
// Example:
//   std::atomic<int> wakes{0};
//   auto poller = std::make_unique<IdlePoller>(wakes);
//   IdlePoller& idle = *poller;
//   EventLoop loop(std::move(poller));
//   loop.ArmTimer(timer, absl::Seconds(30));
//   idle.now += absl::Seconds(30);
//   loop.RunOnce(absl::ZeroDuration());                          // runs the timer
//
// Loop-bound, but Wake, which is thread-safe.
#ifndef SLUICE_CORE_IDLE_POLLER_H_
#define SLUICE_CORE_IDLE_POLLER_H_

#include <atomic>
#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/core/buffer.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class IdlePoller : public Poller {
 public:
  explicit IdlePoller(std::atomic<int>& wakes) : wakes_(wakes) {}

  absl::string_view name() const override { return "idle"; }
  MonotonicTime Now() override { return now; }
  bool clock_runs() const override { return runs; }
  size_t Wait(MonotonicTime deadline) override {
    ++waits;
    last_deadline = deadline;
    if (on_wait) on_wait();
    return 0;
  }
  void Wake() override { ++wakes_; }
  absl::Status Listen(Acceptor&, const SocketAddress&, const ListenOptions&) override {
    return NoSockets();
  }
  absl::Status ListenShared(Acceptor&, const Acceptor&) override { return NoSockets(); }
  void PauseAccepting(Acceptor&) override {}
  void ResumeAccepting(Acceptor&) override {}
  void Close(Acceptor&) override {}
  SocketAddress LocalAddress(const Acceptor&) const override { return {}; }
  absl::Status Connect(Socket&, const SocketAddress&, const SocketOptions&) override {
    return NoSockets();
  }
  void Attach(Socket&, Accepted) override {}
  void StartReceiving(Socket&) override {}
  void StopReceiving(Socket&) override {}
  int Send(Socket&, Buffer&) override { return 0; }
  FileSent SendFile(Socket&, int, uint64_t, size_t) override { return {}; }
  void ShutdownSend(Socket&) override {}
  void Close(Socket&, bool) override {}
  SocketAddress LocalAddress(const Socket&) const override { return {}; }

  // Not the epoch: a loop takes a deadline at the epoch for one that has passed.
  MonotonicTime now = MonotonicTime() + absl::Hours(1);
  bool runs = false;  // the test moves the clock in on_wait
  int waits = 0;
  MonotonicTime last_deadline;    // of the last Wait
  std::function<void()> on_wait;  // what happens while the loop sleeps

 protected:
  void CloseAccepted(int32_t) override {}

 private:
  static absl::Status NoSockets() {
    return absl::UnimplementedError("this loop has no sockets; use a StreamPair");
  }

  std::atomic<int>& wakes_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_IDLE_POLLER_H_
