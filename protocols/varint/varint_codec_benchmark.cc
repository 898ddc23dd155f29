// What cutting bytes into frames and putting them together costs, for each frame.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/varint/varint_codec.h"

namespace sluice::varint {
namespace {

// A receive buffer's worth of frames.
std::vector<uint8_t> Frames(size_t size) {
  const std::string message(size, 'm');
  Buffer out;
  do {
    (void)VarintCodec().Encode(message, out);
  } while (out.size() < 64 * 1024);
  const std::string bytes = out.ToString();
  return std::vector<uint8_t>(bytes.begin(), bytes.end());
}

// Lengths of one, two and three bytes.
void BM_Decode(benchmark::State& state) {
  std::vector<uint8_t> bytes = Frames(static_cast<size_t>(state.range(0)));
  VarintCodec codec;
  size_t frames = 0;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    for (size_t done = 0; done < bytes.size();) {
      absl::Span<uint8_t> message;
      const DecodeResult result = codec.Decode(absl::MakeSpan(bytes).subspan(done), message);
      benchmark::DoNotOptimize(message);
      done += result.consumed();
      ++frames;
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(frames));
}

// A pipeline's worth into one Buffer, as a stream's send queue gets them.
void BM_EncodeBatch(benchmark::State& state) {
  const std::string message(static_cast<size_t>(state.range(0)), 'm');
  const VarintCodec codec;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Buffer out;
    for (int i = 0; i < 16; ++i) benchmark::DoNotOptimize(codec.Encode(message, out));
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(16 * state.iterations());
}

#define SIZES Arg(64)->Arg(1024)->Arg(20'000)
BENCHMARK(BM_Decode)->SIZES;
BENCHMARK(BM_EncodeBatch)->SIZES;

}  // namespace
}  // namespace sluice::varint
