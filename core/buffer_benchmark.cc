#include "sluice/core/buffer.h"

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/pool.h"
#include "sluice/core/slice.h"

namespace sluice {
namespace {

void Send(Buffer& buffer) {
  iovec pieces[16];
  benchmark::DoNotOptimize(buffer.IoVecs(pieces));
  benchmark::DoNotOptimize(pieces[0]);
  buffer.Drain(buffer.size());
}

void BM_PoolAcquireAndRelease(benchmark::State& state) {
  const auto pool_class = static_cast<internal::PoolClass>(state.range(0));
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    void* memory = internal::PoolAcquire(pool_class);
    benchmark::DoNotOptimize(memory);
    internal::PoolRelease(pool_class, memory);
  }
}
BENCHMARK(BM_PoolAcquireAndRelease)->Arg(0)->Arg(1)->Arg(3);

// The yardstick.
void BM_MallocAndFree(benchmark::State& state) {
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    void* memory = std::malloc(state.range(0));
    benchmark::DoNotOptimize(memory);
    std::free(memory);
  }
}
BENCHMARK(BM_MallocAndFree)->Arg(32)->Arg(4'088)->Arg(66'552);

void BM_BlockNewAndUnref(benchmark::State& state) {
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    Block* block = Block::New(state.range(0));
    benchmark::DoNotOptimize(block);
    block->Unref();
  }
}
BENCHMARK(BM_BlockNewAndUnref)->Arg(3)->Arg(900)->Arg(4'000)->Arg(65'536);

void BM_SliceShare(benchmark::State& state) {
  const Slice slice = Slice::Copy("a message to all");
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Slice copy = slice;
    benchmark::DoNotOptimize(copy);
  }
}
BENCHMARK(BM_SliceShare);

// One message in, one send: what a connection does that echoes by copying.
void BM_AppendSendDrain(benchmark::State& state) {
  const std::string message(state.range(0), 'x');
  Buffer buffer;
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    buffer.Append(message);
    Send(buffer);
  }
  state.SetBytesProcessed(state.iterations() * message.size());
}
BENCHMARK(BM_AppendSendDrain)->Arg(64)->Arg(1'024)->Arg(16'384);

// The same where the writer reserves room first.
void BM_ReserveAppendSendDrain(benchmark::State& state) {
  const std::string message(state.range(0), 'x');
  Buffer buffer;
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    buffer.Reserve(4'000);
    buffer.Append(message);
    Send(buffer);
  }
  state.SetBytesProcessed(state.iterations() * message.size());
}
BENCHMARK(BM_ReserveAppendSendDrain)->Arg(64)->Arg(1'024);

// Sixteen messages into one send, each a header and a payload, copied.
void BM_CorkSixteenCopies(benchmark::State& state) {
  const std::string message(state.range(0), 'x');
  Buffer buffer;
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    if (state.range(1) != 0) buffer.Reserve(state.range(1));
    for (int i = 0; i < 16; ++i) {
      buffer.Append("head");
      buffer.Append(message);
    }
    Send(buffer);
  }
}
BENCHMARK(BM_CorkSixteenCopies)->Args({64, 0})->Args({64, 4'000})->Args({1'024, 0});

// Sixteen messages into one send, in place in the receive buffer: they become one piece.
void BM_CorkSixteenLent(benchmark::State& state) {
  const size_t size = state.range(0);
  BlockPtr lent(Block::New(16 * size));
  Buffer buffer;
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    for (size_t i = 0; i < 16; ++i) buffer.AppendFrom(*lent, {lent->storage() + i * size, size});
    Send(buffer);
  }
}
BENCHMARK(BM_CorkSixteenLent)->Arg(64)->Arg(1'024);

// One message to many: a shared Slice into as many Buffers.
void BM_Broadcast(benchmark::State& state) {
  const Slice message = Slice::Copy(std::string(256, 'x'));
  std::vector<Buffer> queues(state.range(0));
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    for (Buffer& queue : queues) queue.Append(message);
    for (Buffer& queue : queues) queue.Clear();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Broadcast)->Arg(1'000);

// A codec that takes messages off the front of what has arrived.
void BM_SplitMessagesOff(benchmark::State& state) {
  Slice received = Slice::Copy(std::string(16 * 1'024, 'x'));
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    Buffer buffer;
    buffer.Append(received);
    while (!buffer.empty()) {
      benchmark::DoNotOptimize(buffer.Linearize(4).data());
      Buffer message = buffer.Split(1'024);
      benchmark::DoNotOptimize(message);
    }
  }
  state.SetItemsProcessed(state.iterations() * 16);
}
BENCHMARK(BM_SplitMessagesOff);

// A header in two pieces.
void BM_LinearizeAcrossSlices(benchmark::State& state) {
  const Slice a = Slice::Copy("\x01\x02"), b = Slice::Copy("\x03\x04payload");
  internal::BenchmarkCalls allocations(state);
  for (auto _ : state) {
    Buffer buffer;
    buffer.Append(a);
    buffer.Append(b);
    benchmark::DoNotOptimize(buffer.Linearize(4).data());
  }
}
BENCHMARK(BM_LinearizeAcrossSlices);

}  // namespace
}  // namespace sluice
