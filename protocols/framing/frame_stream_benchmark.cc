// What a message costs between the transport and the user, there and back: over a Stream that does
// nothing.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/passive_stream.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/codec/prepared_message.h"
#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/protocols/framing/frame_stream.h"

namespace sluice::framing {
namespace {

// Takes what is sent as a TCP stream does, and forgets it.
class NullStream final : public PassiveStream {
 public:
  using PassiveStream::PassiveStream;
  void Receive(absl::Span<uint8_t> bytes) {
    if (!storage_.empty()) {
      const absl::Span<uint8_t> place = storage_.first(std::min(storage_.size(), bytes.size()));
      storage_.remove_prefix(place.size());
      handler()->OnReceive(*this, place);
      bytes.remove_prefix(place.size());
    }
    if (!bytes.empty()) handler()->OnReceive(*this, bytes);
    Flush();
    lent_ = 0;
  }
  void Flush() { queue_.Clear(); }

  SendResult Send(absl::Span<const uint8_t> bytes) override {
    queue_.Append(bytes);
    return SendResult::kSent;
  }
  SendResult Send(Slice slice) override {
    queue_.Append(std::move(slice));
    return SendResult::kSent;
  }
  SendResult Send(Buffer buffer) override {
    queue_.Append(std::move(buffer));
    return SendResult::kSent;
  }
  SendResult SendLent(absl::Span<const uint8_t> bytes) override {
    lent_ += bytes.size();
    benchmark::DoNotOptimize(lent_);
    return SendResult::kSent;
  }
  size_t queued_bytes() const override { return queue_.size(); }
  void ReceiveInto(absl::Span<uint8_t> storage) override { storage_ = storage; }

 private:
  Buffer queue_;
  absl::Span<uint8_t> storage_;
  size_t lent_ = 0;
};

struct Ignore : FrameHandler {
  void OnMessage(FrameStream&, absl::Span<uint8_t> message) override {
    benchmark::DoNotOptimize(message);
  }
};
struct EchoInPlace : FrameHandler {
  void OnMessage(FrameStream& stream, absl::Span<uint8_t> message) override {
    benchmark::DoNotOptimize(stream.SendInPlace(message));
  }
};
struct EchoCopied : FrameHandler {
  void OnMessage(FrameStream& stream, absl::Span<uint8_t> message) override {
    benchmark::DoNotOptimize(stream.Send(message));
  }
};

// Frames of the size, received in pieces of `piece` bytes (0: always whole ones, about 64 KiB at
// once).
template <typename Handler>
void BM_Receive(benchmark::State& state) {
  const size_t size = static_cast<size_t>(state.range(0));
  const size_t piece = static_cast<size_t>(state.range(1));
  Buffer out;
  size_t frames = 0;
  do {
    (void)FrameCodec().Encode(std::string(size, 'm'), out);
    ++frames;
  } while (out.size() < 64 * 1024);
  std::vector<uint8_t> bytes(out.size());
  out.CopyTo(bytes.data(), 0, out.size());

  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  auto transport = std::make_unique<NullStream>(*loop);
  NullStream& null = *transport;
  Handler handler;
  FrameStream stream(std::move(transport), FrameCodec(), handler);
  const sluice::internal::BenchmarkCalls calls(state, static_cast<int64_t>(frames));
  for (auto _ : state) {
    absl::Span<uint8_t> rest = absl::MakeSpan(bytes);
    while (!rest.empty()) {
      const size_t now = piece == 0 ? rest.size() : std::min(piece, rest.size());
      null.Receive(rest.first(now));
      rest.remove_prefix(now);
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(frames));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}

#define SIZES ArgsProduct({{64, 1024, 16 * 1024}, {0, 10'000}})
BENCHMARK_TEMPLATE(BM_Receive, Ignore)->SIZES;
BENCHMARK_TEMPLATE(BM_Receive, EchoInPlace)
    ->SIZES->Args({1024 * 1024, 65'536})
    ->Args({1024 * 1024, 10'000});
BENCHMARK_TEMPLATE(BM_Receive, EchoCopied)->SIZES;

// One message to so many streams; per stream.
struct Receivers {
  explicit Receivers(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      auto transport = std::make_unique<NullStream>(*loop);
      transports.push_back(transport.get());
      streams.push_back(std::make_unique<FrameStream>(std::move(transport), FrameCodec(), handler));
    }
  }

  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  Ignore handler;
  std::vector<NullStream*> transports;
  std::vector<std::unique_ptr<FrameStream>> streams;
};

void BM_SendToMany(benchmark::State& state) {
  Receivers receivers(state.range(0));
  const std::string message(static_cast<size_t>(state.range(1)), 'm');
  const sluice::internal::BenchmarkCalls calls(state, state.range(0));
  for (auto _ : state) {
    for (const auto& stream : receivers.streams) stream->Send(message);
    for (NullStream* transport : receivers.transports) transport->Flush();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void BM_SendPreparedToMany(benchmark::State& state) {
  Receivers receivers(state.range(0));
  const std::string message(static_cast<size_t>(state.range(1)), 'm');
  FrameCodec codec;
  const sluice::internal::BenchmarkCalls calls(state, state.range(0));
  for (auto _ : state) {
    const PreparedMessage<FrameCodec> prepared(codec, message);
    for (const auto& stream : receivers.streams) stream->Send(prepared);
    for (NullStream* transport : receivers.transports) transport->Flush();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

#define RECEIVERS ArgsProduct({{1, 100, 10'000}, {64, 1024, 16 * 1024}})
BENCHMARK(BM_SendToMany)->RECEIVERS;
BENCHMARK(BM_SendPreparedToMany)->RECEIVERS;

}  // namespace
}  // namespace sluice::framing
