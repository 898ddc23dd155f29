// What permessage-deflate costs a message, beside its size: each by itself, and with a context.
//   tools/bazel run -c opt //protocols/websocket:deflate_benchmark

#include "sluice/protocols/websocket/deflate.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/extensions.h"
#include "sluice/protocols/websocket/internal/words.h"

namespace sluice::websocket {
namespace {

// Both ends of a connection.
struct Sessions {
  explicit Sessions(bool with_context) {
    const std::shared_ptr<const Deflate> deflate =
        *Deflate::Create({.send_context = with_context, .receive_context = with_context});
    const std::vector<Extension> offers = deflate->Offer();
    Compression::Accepted accepted = deflate->Accept(offers);
    server = std::move(accepted.session);
    client = *deflate->Agree(accepted.answer);
    compression = deflate;
  }

  std::shared_ptr<const Deflate> compression;
  Compression::SessionPtr server;
  Compression::SessionPtr client;
};

absl::Span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Small ones that are alike, as those of a chat or of prices, and large ones.
#define SIZES Arg(256)->Arg(1024)->Arg(16 * 1024)->Arg(256 * 1024)

template <bool with_context>
void BM_Compress(benchmark::State& state) {
  Sessions sessions(with_context);
  const std::string message = internal::Words(static_cast<size_t>(state.range(0)), 1);
  size_t compressed = sessions.server->Compress(BytesOf(message)).size();
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) compressed = sessions.server->Compress(BytesOf(message)).size();
  state.SetBytesProcessed(state.iterations() * state.range(0));
  state.counters["compressed"] = static_cast<double>(compressed);
}
BENCHMARK_TEMPLATE(BM_Compress, false)->SIZES;
BENCHMARK_TEMPLATE(BM_Compress, true)->SIZES;

template <bool with_context>
void BM_CompressAndDecompress(benchmark::State& state) {
  Sessions sessions(with_context);
  const std::string message = internal::Words(static_cast<size_t>(state.range(0)), 1);
  const auto there = [&] {
    const absl::Span<const uint8_t> compressed = sessions.server->Compress(BytesOf(message));
    return sessions.client->Decompress(compressed, message.size()).bytes.size() == message.size();
  };
  if (!there()) return state.SkipWithError("the message has not come back");
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) benchmark::DoNotOptimize(there());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK_TEMPLATE(BM_CompressAndDecompress, false)->SIZES;
BENCHMARK_TEMPLATE(BM_CompressAndDecompress, true)->SIZES;

}  // namespace
}  // namespace sluice::websocket
