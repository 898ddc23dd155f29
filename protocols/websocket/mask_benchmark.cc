#include "sluice/protocols/websocket/mask.h"

#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/protocols/websocket/internal/mask_kernels.h"

namespace sluice::websocket {
namespace {

// In place, and moved down by the 4 bytes that a server's header is shorter than a client's.
void BM_ApplyMask(benchmark::State& state) {
  const size_t n = static_cast<size_t>(state.range(0));
  const size_t shift = static_cast<size_t>(state.range(1));
  std::vector<uint8_t> memory(n + shift, 'x');
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    ApplyMask(memory.data(), memory.data() + shift, n, 0x12345678);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * n));
}
BENCHMARK(BM_ApplyMask)->ArgsProduct({{5, 15, 16, 64, 125, 1024, 16384, 65536}, {0, 4}});

void BM_ApplyMaskTestingAscii(benchmark::State& state) {
  const size_t n = static_cast<size_t>(state.range(0));
  std::vector<uint8_t> memory(n + 4, 'x');
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        ApplyMaskTestingAscii(memory.data(), memory.data() + 4, n, 0x12345678));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * n));
}
BENCHMARK(BM_ApplyMaskTestingAscii)->Arg(5)->Arg(15)->Arg(64)->Arg(1024)->Arg(16384)->Arg(65536);

void BM_Kernel(benchmark::State& state, const internal::MaskKernel& kernel) {
  const size_t n = static_cast<size_t>(state.range(0));
  std::vector<uint8_t> memory(n + 4, 'x');
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    kernel.mask(memory.data(), memory.data() + 4, n, 0x12345678);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * n));
}

const bool kernels_registered = [] {
  for (const internal::MaskKernel& kernel : internal::UsableMaskKernels()) {
    benchmark::RegisterBenchmark((std::string("BM_Kernel/") + kernel.name).c_str(), BM_Kernel,
                                 kernel)
        ->Arg(32)
        ->Arg(128)
        ->Arg(1024)
        ->Arg(65536);
  }
  return true;
}();

}  // namespace
}  // namespace sluice::websocket
