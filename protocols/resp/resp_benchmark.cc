// What a command costs its server, and a reply its client, without I/O.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/resp/command_codec.h"
#include "sluice/protocols/resp/encode.h"
#include "sluice/protocols/resp/reply_codec.h"
#include "sluice/protocols/resp/value.h"

namespace sluice::resp {
namespace {

// A pipeline's worth of the same message, over and over.
template <typename C>
void DecodeAll(benchmark::State& state, absl::string_view message, int64_t items = 1) {
  std::string bytes;
  while (bytes.size() < 16 * 1024) bytes.append(message.data(), message.size());
  C codec;
  int64_t messages = 0;
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    absl::Span<uint8_t> rest(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
    while (!rest.empty()) {
      typename C::Message decoded;
      const DecodeResult result = codec.Decode(rest, decoded);
      benchmark::DoNotOptimize(decoded);
      rest.remove_prefix(result.consumed());
      ++messages;
    }
  }
  state.SetItemsProcessed(messages * items);
}

void BM_DecodePing(benchmark::State& state) {
  DecodeAll<CommandCodec>(state, "*1\r\n$4\r\nPING\r\n");
}
void BM_DecodeInlinePing(benchmark::State& state) { DecodeAll<CommandCodec>(state, "PING\r\n"); }
void BM_DecodeSet(benchmark::State& state) {
  DecodeAll<CommandCodec>(state, "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$3\r\nxxx\r\n");
}
void BM_DecodePong(benchmark::State& state) { DecodeAll<ReplyCodec>(state, "+PONG\r\n"); }
void BM_DecodeBulkString(benchmark::State& state) {
  DecodeAll<ReplyCodec>(state, absl::StrCat("$100\r\n", std::string(100, 'v'), "\r\n"));
}
// Time an element: a message has a hundred.
void BM_DecodeArrayElement(benchmark::State& state) {
  std::string array = "*100\r\n";
  for (int i = 0; i < 100; ++i) absl::StrAppend(&array, "$10\r\nvalue:", 1000 + i, "\r\n");
  DecodeAll<ReplyCodec>(state, array, 100);
}

// A pipeline's worth into one Buffer, as a stream's send queue gets them.
template <typename Encode>
void EncodeBatch(benchmark::State& state, Encode&& encode) {
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Buffer out;
    for (int i = 0; i < 16; ++i) encode(out);
    benchmark::DoNotOptimize(out);
  }
  state.SetItemsProcessed(16 * state.iterations());
}
void BM_EncodePong(benchmark::State& state) {
  const CommandCodec codec;
  EncodeBatch(state, [&](Buffer& out) {
    codec.Encode([](auto& reply) { reply.SimpleString("PONG"); }, out);
  });
}
void BM_EncodeBulkString(benchmark::State& state) {
  const CommandCodec codec;
  const std::string value(100, 'v');
  EncodeBatch(state, [&](Buffer& out) {
    codec.Encode([&](auto& reply) { reply.BulkString(value); }, out);
  });
}
void BM_EncodeCommand(benchmark::State& state) {
  const ReplyCodec codec;
  EncodeBatch(state, [&](Buffer& out) {
    codec.Encode(Arguments{"SET", "key:000000000042", "xxx"}, out);
  });
}

BENCHMARK(BM_DecodePing);
BENCHMARK(BM_DecodeInlinePing);
BENCHMARK(BM_DecodeSet);
BENCHMARK(BM_DecodePong);
BENCHMARK(BM_DecodeBulkString);
BENCHMARK(BM_DecodeArrayElement);
BENCHMARK(BM_EncodePong);
BENCHMARK(BM_EncodeBulkString);
BENCHMARK(BM_EncodeCommand);

}  // namespace
}  // namespace sluice::resp
