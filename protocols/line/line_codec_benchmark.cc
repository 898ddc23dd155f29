// What cutting bytes into lines and putting them together costs, for each line.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/line/line_codec.h"

namespace sluice::line {
namespace {

// A receive buffer's worth of lines.
std::vector<uint8_t> Lines(const LineCodec& codec, size_t size) {
  const std::string line(size, 'm');
  Buffer out;
  do {
    (void)codec.Encode(line, out);
  } while (out.size() < 64 * 1024);
  const std::string bytes = out.ToString();
  return std::vector<uint8_t>(bytes.begin(), bytes.end());
}

void DecodeAll(benchmark::State& state, LineCodec codec) {
  std::vector<uint8_t> bytes = Lines(codec, static_cast<size_t>(state.range(0)));
  size_t lines = 0;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    for (size_t done = 0; done < bytes.size();) {
      absl::Span<uint8_t> message;
      const DecodeResult result = codec.Decode(absl::MakeSpan(bytes).subspan(done), message);
      benchmark::DoNotOptimize(message);
      done += result.consumed();
      ++lines;
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(lines));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}

void BM_DecodeLf(benchmark::State& state) { DecodeAll(state, LineCodec()); }
void BM_DecodeStrictCrLf(benchmark::State& state) {
  DecodeAll(state, LineCodec({.ending = LineEnding::kCrLf, .strict = true}));
}

// A line of 64 KiB that comes in pieces: with pieces of one byte, the worst that a peer can do.
void BM_DecodeInPieces(benchmark::State& state) {
  const size_t piece = static_cast<size_t>(state.range(0));
  std::vector<uint8_t> line(64 * 1024, 'm');
  line.back() = '\n';
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    LineCodec codec;
    absl::Span<uint8_t> message;
    for (size_t size = piece; size <= line.size(); size += piece) {
      benchmark::DoNotOptimize(codec.Decode(absl::MakeSpan(line).first(size), message));
    }
    if (message.empty()) state.SkipWithError("the line was not decoded");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(line.size()));
}

// A pipeline's worth into one Buffer, as a stream's send queue gets them.
void BM_EncodeBatch(benchmark::State& state) {
  const std::string line(static_cast<size_t>(state.range(0)), 'm');
  const LineCodec codec;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Buffer out;
    for (int i = 0; i < 16; ++i) benchmark::DoNotOptimize(codec.Encode(line, out));
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(16 * state.iterations());
}

#define SIZES Arg(16)->Arg(64)->Arg(1024)->Arg(16 * 1024)
BENCHMARK(BM_DecodeLf)->SIZES;
BENCHMARK(BM_DecodeStrictCrLf)->SIZES;
BENCHMARK(BM_DecodeInPieces)->Arg(1)->Arg(64)->Arg(4096);
BENCHMARK(BM_EncodeBatch)->SIZES;

}  // namespace
}  // namespace sluice::line
