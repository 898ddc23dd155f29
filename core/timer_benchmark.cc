// Figures of the design: arm + cancel with 1,000,000 pending, and advance per expired timer: at
// most 60 ns each, to aim at 25.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/timer.h"

namespace sluice {
namespace {

constexpr MonotonicTime kStart = MonotonicTime::FromNanoseconds(123'456'789'000);
constexpr int64_t kMinute = 60'000'000'000;

// As in a connection: the timers stand in cache lines of their own.
struct alignas(64) Node : TimerNode {
  Node() : TimerNode([](TimerNode& node) { ++static_cast<Node&>(node).runs; }) {}
  int64_t runs = 0;
};

MonotonicTime After(int64_t nanoseconds) {
  return MonotonicTime::FromNanoseconds(kStart.nanoseconds() + nanoseconds);
}

// Instants within a minute after kStart.
absl::Span<const MonotonicTime> RandomDeadlines(size_t count) {
  static std::vector<MonotonicTime>& deadlines = *new std::vector<MonotonicTime>([] {
    std::mt19937_64 random(1);
    std::vector<MonotonicTime> made(1'000'000);
    for (MonotonicTime& deadline : made) {
      deadline = After(1 + static_cast<int64_t>(random() % kMinute));
    }
    return made;
  }());
  return absl::MakeSpan(deadlines).first(count);
}

// Which of the pending timers is touched next: no order that a cache could foresee.
std::vector<uint32_t> RandomIndices(size_t count, size_t below) {
  std::mt19937_64 random(2);
  std::vector<uint32_t> indices;
  indices.reserve(count);
  for (size_t i = 0; i < count; ++i) indices.push_back(static_cast<uint32_t>(random() % below));
  return indices;
}

struct Pending {
  explicit Pending(size_t count) : nodes(count), wheel(kStart) {
    const absl::Span<const MonotonicTime> deadlines = RandomDeadlines(count);
    for (size_t i = 0; i < count; ++i) wheel.Arm(nodes[i], deadlines[i]);
  }
  std::vector<Node> nodes;
  TimerWheel wheel;
};

// Made once for each count: the benchmarks leave as many armed as they found.
Pending& PendingTimers(size_t count) {
  static auto& made = *new std::map<size_t, std::unique_ptr<Pending>>();
  std::unique_ptr<Pending>& pending = made[count];
  if (pending == nullptr) pending = std::make_unique<Pending>(count);
  return *pending;
}

// A request with a deadline that it meets: a timer is armed and soon cancelled.
void BM_ArmAndCancel(benchmark::State& state) {
  Pending& pending = PendingTimers(state.range(0));
  const absl::Span<const MonotonicTime> deadlines = RandomDeadlines(1 << 16);
  Node node;
  size_t i = 0;
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    pending.wheel.Arm(node, deadlines[i++ % deadlines.size()]);
    node.Cancel();
  }
}
BENCHMARK(BM_ArmAndCancel)->Arg(0)->Arg(1'000)->Arg(1'000'000);

// The same for any of the pending timers: it and its neighbours are not in the cache.
void BM_CancelAndArmAnyPending(benchmark::State& state) {
  Pending& pending = PendingTimers(state.range(0));
  const absl::Span<const MonotonicTime> deadlines = RandomDeadlines(1 << 16);
  const std::vector<uint32_t> which = RandomIndices(1 << 20, pending.nodes.size());
  size_t i = 0;
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Node& node = pending.nodes[which[i % which.size()]];
    node.Cancel();
    pending.wheel.Arm(node, deadlines[i % deadlines.size()]);
    ++i;
  }
}
BENCHMARK(BM_CancelAndArmAnyPending)->Arg(1'000)->Arg(1'000'000);

// Bytes arrived on a connection: its idle deadline moves.
void BM_MoveIdleDeadline(benchmark::State& state) {
  Pending& pending = PendingTimers(state.range(0));
  const std::vector<uint32_t> which = RandomIndices(1 << 20, pending.nodes.size());
  MonotonicTime deadline = kStart + absl::Seconds(30);
  size_t i = 0;
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    pending.wheel.Arm(pending.nodes[which[i++ % which.size()]], deadline);
    deadline = After(deadline.nanoseconds() - kStart.nanoseconds() + 500);
  }
}
BENCHMARK(BM_MoveIdleDeadline)->Arg(50)->Arg(1'000)->Arg(1'000'000);

int64_t closures_run = 0;

struct alignas(64) ClosureTimer : Timer {
  ClosureTimer() : Timer([runs = &closures_run] { ++*runs; }) {}
};

// A minute with so many timers, in turns of a millisecond; per_timer is the figure.
template <typename AnyTimer>
void BM_Advance(benchmark::State& state) {
  const size_t count = state.range(0);
  const absl::Span<const MonotonicTime> deadlines = RandomDeadlines(count);
  std::vector<AnyTimer> timers(count);
  size_t expired = 0;
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    state.PauseTiming();
    TimerWheel wheel(kStart);
    for (size_t i = 0; i < count; ++i) wheel.Arm(timers[i], deadlines[i]);
    state.ResumeTiming();
    for (int turn = 0; turn <= 60'001; ++turn)
      expired += wheel.AdvanceTo(After(int64_t{1'000'000} * turn));
  }
  if (expired != count * state.iterations()) state.SkipWithError("some timers have not expired");
  state.counters["per_timer"] = benchmark::Counter(
      static_cast<double>(expired), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_Advance<Node>)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Advance<ClosureTimer>)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

// What a turn of a loop costs when no timer is due: ask how long to sleep, then advance.
void BM_TurnWithNothingDue(benchmark::State& state) {
  TimerWheel wheel(kStart);
  std::vector<Node> nodes(state.range(0));
  for (Node& node : nodes) wheel.Arm(node, kStart + absl::Hours(1));
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(wheel.NextDeadline());
    benchmark::DoNotOptimize(wheel.AdvanceTo(kStart));
  }
}
BENCHMARK(BM_TurnWithNothingDue)->Arg(0)->Arg(1)->Arg(1'000);

// The yardstick: what a sorted map needs for the same.
void BM_MultimapArmAndCancel(benchmark::State& state) {
  static auto& pending = *new std::multimap<MonotonicTime, Node*>();
  for (size_t i = pending.size(); i < static_cast<size_t>(state.range(0)); ++i) {
    pending.emplace(RandomDeadlines(1'000'000)[i], nullptr);
  }
  const absl::Span<const MonotonicTime> deadlines = RandomDeadlines(1 << 16);
  size_t i = 0;
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    pending.erase(pending.emplace(deadlines[i++ % deadlines.size()], nullptr));
  }
}
BENCHMARK(BM_MultimapArmAndCancel)->Arg(1'000'000);

}  // namespace
}  // namespace sluice
