// What splitting bytes into frames and putting them together costs, for each frame.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/framing/frame_codec.h"

namespace sluice::framing {
namespace {

// A receive buffer's worth of frames.
std::vector<uint8_t> Frames(const FrameCodec& codec, size_t size) {
  const std::string message(size, 'm');
  Buffer out;
  do {
    (void)codec.Encode(message, out);
  } while (out.size() < 64 * 1024);
  const std::string bytes = out.ToString();
  return std::vector<uint8_t>(bytes.begin(), bytes.end());
}

FrameCodec Make(int length_bytes, int64_t adjustment) {
  FrameOptions options;
  options.length_bytes = length_bytes;
  options.length_adjustment = adjustment;
  return *FrameCodec::Create(options);
}

void DecodeAll(benchmark::State& state, FrameCodec codec) {
  std::vector<uint8_t> bytes = Frames(codec, static_cast<size_t>(state.range(0)));
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

void BM_DecodeDefault(benchmark::State& state) { DecodeAll(state, FrameCodec()); }
void BM_DecodeTwoBytes(benchmark::State& state) { DecodeAll(state, Make(2, 0)); }
void BM_DecodeVarint(benchmark::State& state) { DecodeAll(state, Make(FrameOptions::kVarint, 0)); }
void BM_DecodeAdjusted(benchmark::State& state) { DecodeAll(state, Make(4, -4)); }

// The same by hand, with the limit: what the default is measured against.
void BM_DecodeByHand(benchmark::State& state) {
  std::vector<uint8_t> bytes = Frames(FrameCodec(), static_cast<size_t>(state.range(0)));
  size_t limit = 1024 * 1024;
  benchmark::DoNotOptimize(limit);
  size_t frames = 0;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    for (size_t done = 0; done < bytes.size();) {
      const uint8_t* front = bytes.data() + done;
      const size_t left = bytes.size() - done;
      if (left < 4) break;
      const uint32_t length =
          uint32_t{front[0]} << 24 | uint32_t{front[1]} << 16 | uint32_t{front[2]} << 8 | front[3];
      if (length > limit || left - 4 < length) break;
      absl::Span<const uint8_t> message(front + 4, length);
      benchmark::DoNotOptimize(message);
      done += size_t{4} + length;
      ++frames;
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(frames));
}

void BM_EncodeSpan(benchmark::State& state) {
  const std::string message(static_cast<size_t>(state.range(0)), 'm');
  const FrameCodec codec;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Buffer out;
    benchmark::DoNotOptimize(codec.Encode(message, out));
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(state.iterations());
}

// A pipeline's worth into one Buffer, as a stream's send queue gets them.
void BM_EncodeSpanBatch(benchmark::State& state) {
  const std::string message(static_cast<size_t>(state.range(0)), 'm');
  const FrameCodec codec;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Buffer out;
    for (int i = 0; i < 16; ++i) benchmark::DoNotOptimize(codec.Encode(message, out));
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(16 * state.iterations());
}

void BM_EncodeSpanBatchByHand(benchmark::State& state) {
  const size_t size = static_cast<size_t>(state.range(0));
  const std::string message(size, 'm');
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Buffer out;
    for (int i = 0; i < 16; ++i) {
      const uint8_t length[4] = {static_cast<uint8_t>(size >> 24), static_cast<uint8_t>(size >> 16),
                                 static_cast<uint8_t>(size >> 8), static_cast<uint8_t>(size)};
      out.Append(absl::MakeConstSpan(length, 4));
      out.Append(message);
    }
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(16 * state.iterations());
}

void BM_EncodeSlice(benchmark::State& state) {
  const Slice message = Slice::Copy(std::string(static_cast<size_t>(state.range(0)), 'm'));
  const FrameCodec codec;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Buffer out;
    benchmark::DoNotOptimize(codec.Encode(message, out));
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(state.iterations());
}

#define SIZES Arg(64)->Arg(1024)->Arg(16 * 1024)
BENCHMARK(BM_DecodeDefault)->SIZES;
BENCHMARK(BM_DecodeByHand)->SIZES;
BENCHMARK(BM_DecodeTwoBytes)->SIZES;
BENCHMARK(BM_DecodeVarint)->SIZES;
BENCHMARK(BM_DecodeAdjusted)->SIZES;
BENCHMARK(BM_EncodeSpan)->SIZES;
BENCHMARK(BM_EncodeSpanBatch)->SIZES;
BENCHMARK(BM_EncodeSpanBatchByHand)->SIZES;
BENCHMARK(BM_EncodeSlice)->SIZES;

}  // namespace
}  // namespace sluice::framing
