#ifndef SLUICE_CORE_INTERNAL_BENCHMARK_CALLS_H_
#define SLUICE_CORE_INTERNAL_BENCHMARK_CALLS_H_

#include <cstdint>

#include "benchmark/benchmark.h"
#include "sluice/core/internal/counting_calls.h"

namespace sluice::internal {

// Reports beside a benchmark's time what its thread has allocated and asked of the system since
// this was made: `allocations` and `system_calls`, of each operation.
//
// Example:
//   const BenchmarkCalls calls(state);
//   for (auto _ : state) ...
class BenchmarkCalls {
 public:
  // An iteration is so many operations.
  explicit BenchmarkCalls(benchmark::State& state, int64_t operations = 1)
      : state_(state), operations_(operations) {}
  ~BenchmarkCalls() {
    const CallCounts counts = CountCalls() - before_;
    Report("allocations", counts.allocations);
    Report("system_calls", counts.system_calls);
  }
  BenchmarkCalls(const BenchmarkCalls&) = delete;
  BenchmarkCalls& operator=(const BenchmarkCalls&) = delete;

 private:
  void Report(const char* name, int64_t count) {
    state_.counters[name] =
        static_cast<double>(count) / static_cast<double>(state_.iterations() * operations_);
  }

  benchmark::State& state_;
  const int64_t operations_;
  const CallCounts before_ = CountCalls();
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_BENCHMARK_CALLS_H_
