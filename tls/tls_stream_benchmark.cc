// An echo of messages: what sluice's stream costs, over a transport in memory, beside BoringSSL
// alone, which decrypts and encrypts the same records. aead_benchmark has the bare encryption.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/counting_calls.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/bare_peer.h"
#include "sluice/tls/context.h"
#include "sluice/tls/context_impl.h"
#include "sluice/tls/memory_server.h"

namespace sluice::tls {
namespace {

// A server that is BoringSSL and nothing else.
class BareServer {
 public:
  BareServer(VirtualLoop&, const std::shared_ptr<const ServerContext>& context)
      : peer_(internal::ContextAccess::Of(*context).ctx.get(), /*server=*/true) {}
  void Shake(absl::Span<uint8_t> bytes) { done_ = peer_.Step(bytes); }
  bool done() const { return done_; }
  void Receive(absl::Span<uint8_t> bytes) { peer_.Encrypt({plain_, peer_.Decrypt(bytes, plain_)}); }
  std::string TakeSent() { return peer_.TakeOutput(); }

 private:
  BarePeer peer_;
  bool done_ = false;
  uint8_t plain_[64 * 1024];
};

class SluiceServer : private MemoryEcho, public MemoryServer {
 public:
  SluiceServer(VirtualLoop& loop, std::shared_ptr<const ServerContext> context)
      : MemoryServer(loop, std::move(context), static_cast<MemoryEcho&>(*this)) {}
  void Shake(absl::Span<uint8_t> bytes) { Receive(bytes); }
};

// So many messages of a size arrive at once, each in a record, and are echoed.
template <typename Server>
void BM_Echo(benchmark::State& state) {
  VirtualLoop loop;
  BareClientContext clients;
  BarePeer client(clients.ctx(), /*server=*/false);
  const std::shared_ptr<const ServerContext> context = MemoryServer::MakeContext();
  Server server(loop, context);
  std::string to_client;
  for (bool done = false; !done || !server.done();) {
    done = client.Step(AsBytes(to_client));
    std::string to_server = client.TakeOutput();
    server.Shake(AsBytes(to_server));
    to_client = server.TakeSent();
  }

  const std::string message(static_cast<size_t>(state.range(0)), 'x');
  const auto messages = static_cast<size_t>(state.range(1));
  std::string echo(message.size() * messages, 0);
  int64_t allocations = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < messages; ++i)
      client.Encrypt({reinterpret_cast<const uint8_t*>(message.data()), message.size()});
    std::string to_server = client.TakeOutput();
    const int64_t before = sluice::internal::CountCalls().allocations;
    const auto begin = std::chrono::steady_clock::now();
    server.Receive(AsBytes(to_server));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    allocations += sluice::internal::CountCalls().allocations - before;
    state.SetIterationTime(elapsed.count());
    std::string answer = to_client + server.TakeSent();
    to_client.clear();
    SLUICE_CHECK(client.Decrypt(AsBytes(answer), AsBytes(echo)) == echo.size());
  }
  const auto echoed = state.iterations() * state.range(1);
  state.SetItemsProcessed(echoed);
  state.counters["allocations"] = static_cast<double>(allocations) / static_cast<double>(echoed);
}
BENCHMARK_TEMPLATE(BM_Echo, BareServer)
    ->ArgsProduct({{64, 1024, 16384}, {1}})
    ->Args({1024, 16})
    ->Args({16384, 4})
    ->UseManualTime();
BENCHMARK_TEMPLATE(BM_Echo, SluiceServer)
    ->ArgsProduct({{64, 1024, 16384}, {1}})
    ->Args({1024, 16})
    ->Args({16384, 4})
    ->UseManualTime();

}  // namespace
}  // namespace sluice::tls
