#include "sluice/protocols/websocket/decoder.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/mask.h"

namespace sluice::websocket {
namespace {

// Masked frames, as many as one receive may bring.
std::vector<uint8_t> Burst(Opcode opcode, size_t payload_bytes, size_t frames) {
  std::vector<uint8_t> burst;
  const std::vector<uint8_t> payload(payload_bytes, 'x');
  for (size_t i = 0; i < frames; ++i) {
    const FrameHeader header = {
        .opcode = opcode, .masked = true, .mask_key = 0x12345678, .payload_bytes = payload_bytes};
    uint8_t bytes[kMaxFrameHeaderBytes];
    const size_t n = EncodeFrameHeader(header, bytes);
    burst.insert(burst.end(), bytes, bytes + n);
    burst.resize(burst.size() + payload_bytes);
    ApplyMask(burst.data() + burst.size() - payload_bytes, payload.data(), payload_bytes,
              header.mask_key);
  }
  return burst;
}

// Decodes a burst in place and writes the header of the echo in front of each payload. The burst
// has to be copied anew each time; that alone is what BM_CopyBurst measures.
void BM_DecodeAndEcho(benchmark::State& state, Opcode opcode) {
  const size_t frames = static_cast<size_t>(state.range(1));
  const std::vector<uint8_t> burst = Burst(opcode, static_cast<size_t>(state.range(0)), frames);
  std::vector<uint8_t> memory(burst.size());
  const FrameDecoder::Options options;
  FrameDecoder decoder(options);
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    std::memcpy(memory.data(), burst.data(), burst.size());
    FrameDecoder::Input input{memory.data(), memory.data() + memory.size(), memory.data()};
    for (;;) {
      const FrameDecoder::Event event = decoder.Next(input);
      if (event.kind != FrameDecoder::Event::kMessage) break;
      EncodeFrameHeader({.opcode = opcode, .payload_bytes = event.size},
                        event.payload - FrameHeaderBytes(event.size));
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * frames));
}
void BM_DecodeAndEchoBinary(benchmark::State& state) { BM_DecodeAndEcho(state, Opcode::kBinary); }
void BM_DecodeAndEchoText(benchmark::State& state) { BM_DecodeAndEcho(state, Opcode::kText); }

void BM_CopyBurst(benchmark::State& state) {
  const size_t frames = static_cast<size_t>(state.range(1));
  const std::vector<uint8_t> burst =
      Burst(Opcode::kBinary, static_cast<size_t>(state.range(0)), frames);
  std::vector<uint8_t> memory(burst.size());
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    std::memcpy(memory.data(), burst.data(), burst.size());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * frames));
}

BENCHMARK(BM_CopyBurst)->Args({64, 16})->Args({1024, 16})->Args({16384, 4});
BENCHMARK(BM_DecodeAndEchoBinary)->Args({64, 16})->Args({1024, 16})->Args({16384, 4});
BENCHMARK(BM_DecodeAndEchoText)->Args({64, 16})->Args({1024, 16})->Args({16384, 4});

// A message that arrives in pieces of 64 KiB and is gathered.
void BM_GatherMessage(benchmark::State& state) {
  const size_t size = static_cast<size_t>(state.range(0));
  const std::vector<uint8_t> frame = Burst(Opcode::kBinary, size, 1);
  std::vector<uint8_t> piece(65536);
  const FrameDecoder::Options options;
  FrameDecoder decoder(options);
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    for (size_t at = 0; at < frame.size(); at += piece.size()) {
      const size_t n = std::min(piece.size(), frame.size() - at);
      std::memcpy(piece.data(), frame.data() + at, n);
      FrameDecoder::Input input{piece.data(), piece.data() + n, piece.data()};
      benchmark::DoNotOptimize(decoder.Next(input));
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * size));
}
BENCHMARK(BM_GatherMessage)->Arg(200000)->Arg(1 << 20);

// Fragments of 64 bytes, all in one input.
void BM_GatherFragments(benchmark::State& state) {
  std::vector<uint8_t> fragments = Burst(Opcode::kContinuation, 64, 256);
  const size_t frame_bytes = fragments.size() / 256;
  for (size_t i = 0; i < 255; ++i) fragments[i * frame_bytes] &= 0x7f;
  fragments[0] |= static_cast<uint8_t>(Opcode::kBinary);
  const FrameDecoder::Options options;
  FrameDecoder decoder(options);
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    FrameDecoder::Input input{fragments.data(), fragments.data() + fragments.size(),
                              fragments.data()};
    benchmark::DoNotOptimize(decoder.Next(input));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * 256));
}
BENCHMARK(BM_GatherFragments);

}  // namespace
}  // namespace sluice::websocket
