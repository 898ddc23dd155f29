// What the loop itself costs: a turn in which nothing happens, and a function posted to it.
//   tools/bazel run -c opt //core:event_loop_benchmark
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/idle_poller.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/timer.h"

namespace sluice {
namespace {

// The loop's part of a turn, without a system call. The argument is how many timers are armed, none
// of which is due.
void BM_TurnOfAnIdleEngine(benchmark::State& state) {
  std::atomic<int> wakes{0};
  EventLoop loop(std::make_unique<IdlePoller>(wakes));
  std::vector<std::unique_ptr<Timer>> timers;
  uint64_t ran = 0;
  for (int64_t i = 0; i < state.range(0); ++i) {
    timers.push_back(std::make_unique<Timer>([&ran] { ++ran; }));
    loop.ArmTimer(*timers.back(), absl::Seconds(30) + absl::Milliseconds(i % 1000));
  }
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) loop.RunOnce(absl::ZeroDuration());
}
BENCHMARK(BM_TurnOfAnIdleEngine)->Arg(0)->Arg(100'000);

// The same with the system's calls: epoll_wait and two readings of the clock.
void BM_TurnWithoutEvents(benchmark::State& state) {
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) loop->RunOnce(absl::ZeroDuration());
}
BENCHMARK(BM_TurnWithoutEvents);

void BM_PostAndRunOnTheSameThread(benchmark::State& state) {
  std::atomic<int> wakes{0};
  EventLoop loop(std::make_unique<IdlePoller>(wakes));
  constexpr int kBatch = 64;
  uint64_t ran = 0;
  const internal::BenchmarkCalls calls(state);
  while (state.KeepRunningBatch(kBatch)) {
    for (int i = 0; i < kBatch; ++i) loop.Post([&ran] { ++ran; });
    loop.RunOnce(absl::ZeroDuration());
  }
  if (ran != static_cast<uint64_t>(state.iterations())) state.SkipWithError("posts were lost");
}
BENCHMARK(BM_PostAndRunOnTheSameThread);

// A loop on a thread of its own that never sleeps: it turns without waiting.
class BusyLoop {
 public:
  BusyLoop() : thread_([this] { Run(); }) {}
  ~BusyLoop() {
    stop_.store(true);
    thread_.join();
  }
  EventLoop& loop() { return *loop_; }

 private:
  void Run() {
    while (!stop_.load(std::memory_order_relaxed)) loop_->RunOnce(absl::ZeroDuration());
  }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// What the poster pays.
void BM_PostFromAnotherThreadToABusyLoop(benchmark::State& state) {
  BusyLoop busy;
  std::atomic<uint64_t> ran{0};
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    busy.loop().Post(
        [&ran] { ran.store(ran.load(std::memory_order_relaxed) + 1, std::memory_order_release); });
  }
  while (ran.load(std::memory_order_acquire) != static_cast<uint64_t>(state.iterations())) {
  }
}
BENCHMARK(BM_PostFromAnotherThreadToABusyLoop)->UseRealTime();

}  // namespace
}  // namespace sluice
