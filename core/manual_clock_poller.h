// ManualClockPoller is another engine with a clock that moves only when the test says so: real
// connections with deadlines that depend on nothing but the test. A Wait that would sleep looks for
// a millisecond of the real clock instead.
//
// Example:
//   auto poller = std::make_unique<ManualClockPoller>(*CreatePoller(PollerKind::kEpoll));
//   ManualClockPoller& clock = *poller;
//   EventLoop loop(std::move(poller));
//   stream->SetIdleTimeout(absl::Seconds(30));
//   clock.now += absl::Seconds(31);
//   loop.RunOnce(absl::ZeroDuration());                          // the stream has ended
//
// Loop-bound, but Wake, which is thread-safe.
#ifndef SLUICE_CORE_MANUAL_CLOCK_POLLER_H_
#define SLUICE_CORE_MANUAL_CLOCK_POLLER_H_

#include <cstddef>

#include "absl/time/time.h"
#include "sluice/core/forwarding_poller.h"
#include "sluice/core/monotonic_time.h"

namespace sluice {

class ManualClockPoller final : public ForwardingPoller {
 public:
  using ForwardingPoller::ForwardingPoller;

  MonotonicTime now = MonotonicTime() + absl::Hours(1);

  MonotonicTime Now() override { return now; }
  bool clock_runs() const override { return false; }
  size_t Wait(MonotonicTime deadline) override {
    return real().Wait(deadline <= now ? MonotonicTime() : real().Now() + absl::Milliseconds(1));
  }
};

}  // namespace sluice

#endif  // SLUICE_CORE_MANUAL_CLOCK_POLLER_H_
