// What a handshake (P-256, TLS 1.3) costs a server: BoringSSL's half of it alone, with input and
// output in memory, and all that sluice does, over a stream in memory. Their ratio is what sluice
// adds. Only the server's steps are timed and counted, with the beginning and the end of its
// connection.

#include <time.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "openssl/ssl.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/counting_calls.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/bare_peer.h"
#include "sluice/tls/context.h"
#include "sluice/tls/context_impl.h"
#include "sluice/tls/memory_server.h"

namespace sluice::tls {
namespace {

// Of this thread's processor time: a handshake is long enough to be interrupted by others.
class Stopwatch {
 public:
  template <typename Work>
  void Time(Work work) {
    const int64_t allocations = ::sluice::internal::CountCalls().allocations;
    const double begin = Now();
    work();
    elapsed_ += Now() - begin;
    allocations_ += ::sluice::internal::CountCalls().allocations - allocations;
  }
  double TakeSeconds() { return std::exchange(elapsed_, 0); }
  int64_t TakeAllocations() { return std::exchange(allocations_, 0); }

 private:
  static double Now() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
  }
  double elapsed_ = 0;
  int64_t allocations_ = 0;
};

// A server that is BoringSSL and nothing else.
class BareServer {
 public:
  explicit BareServer(std::shared_ptr<const ServerContext> context)
      : peer_(internal::ContextAccess::Of(*context).ctx.get(), /*server=*/true) {}
  void Receive(absl::Span<uint8_t> bytes) { done_ = peer_.Step(bytes); }
  std::string TakeSent() { return peer_.TakeOutput(); }
  bool done() const { return done_; }

 private:
  BarePeer peer_;
  bool done_ = false;
};

class SluiceServer : public MemoryServer {
 public:
  explicit SluiceServer(std::shared_ptr<const ServerContext> context)
      : MemoryServer(Loop(), std::move(context), Echo()) {}

  static VirtualLoop& Loop() {
    static VirtualLoop* const loop = new VirtualLoop;
    return *loop;
  }

 private:
  static StreamHandler& Echo() {
    static StreamHandler* const echo = new MemoryEcho;
    return *echo;
  }
};

template <typename Server>
void Handshake(const std::shared_ptr<const ServerContext>& context, BarePeer& client,
               Stopwatch& server_time) {
  std::optional<Server> server;
  server_time.Time([&] { server.emplace(context); });
  std::string to_client;
  bool done = false;
  while (!done || !server->done()) {
    done = client.Step(AsBytes(to_client));
    std::string to_server = client.TakeOutput();
    server_time.Time([&] { server->Receive(AsBytes(to_server)); });
    to_client = server->TakeSent();
  }
  uint8_t nothing[1];
  client.Decrypt(AsBytes(to_client), nothing);  // its tickets
  server_time.Time([&] { server.reset(); });
}

template <typename Server>
void BM_Handshake(benchmark::State& state) {
  const bool resume = state.range(0) != 0;
  const std::shared_ptr<const ServerContext> context = MemoryServer::MakeContext();
  BareClientContext clients;
  Stopwatch server_time;
  const auto shake_hands = [&] {
    BarePeer client(clients.ctx(), /*server=*/false);
    if (resume && clients.session() != nullptr) SSL_set_session(client.ssl(), clients.session());
    Handshake<Server>(context, client, server_time);
    SluiceServer::Loop().RunUntilIdle();  // a turn, of which the handshakes are counted
    return SSL_session_reused(client.ssl()) == 1;
  };
  SLUICE_CHECK(!shake_hands());
  server_time.TakeSeconds();
  server_time.TakeAllocations();
  for (auto _ : state) {
    SLUICE_CHECK(shake_hands() == resume);
    state.SetIterationTime(server_time.TakeSeconds());
  }
  state.counters["allocations"] =
      static_cast<double>(server_time.TakeAllocations()) / static_cast<double>(state.iterations());
  state.SetLabel(resume ? "resumed" : "full");
}
BENCHMARK_TEMPLATE(BM_Handshake, BareServer)->Arg(0)->Arg(1)->UseManualTime();
BENCHMARK_TEMPLATE(BM_Handshake, SluiceServer)->Arg(0)->Arg(1)->UseManualTime();

}  // namespace
}  // namespace sluice::tls
