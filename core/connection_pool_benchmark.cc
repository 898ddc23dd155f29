// What it costs to borrow a connection of a pool and to give it back, with a request over it and
// without; to dial through a pool; and what it would cost to borrow it of another loop.
//   tools/bazel run -c opt //core:connection_pool_benchmark
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/pooled_dialer.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"

namespace sluice {
namespace {

class Ignore : public StreamHandler {
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> /*bytes*/) override {}
};

class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.SendLent(bytes); }
};

struct Counter : StreamHandler {
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    received += bytes.size();
  }
  size_t received = 0;
};

// A pool with idle connections over loopback.
struct Pool {
  // So many to each of so many targets.
  Pool(size_t target_count, size_t connections) {
    for (size_t i = 1; i <= target_count; ++i) {
      targets.push_back(*pool->GetTarget({"server", static_cast<uint16_t>(i)}, dialer));
      Open(targets.back(), connections);
    }
  }

  void Open(const ConnectionPool::Target& target, size_t connections) {
    std::vector<ConnectionPool::Request> requests(connections);
    std::vector<ConnectionPool::Lease> leases;
    for (ConnectionPool::Request& request : requests) {
      request = pool->Borrow(target, {}, [&](absl::StatusOr<ConnectionPool::Lease> lease) {
        leases.push_back(*std::move(lease));
      });
    }
    loop->RunUntil([&] { return leases.size() == connections; });
    for (ConnectionPool::Lease& lease : leases) lease.Return();
  }

  Ignore handler;
  Echo echo;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  std::unique_ptr<Listener> listener =
      *Listener::Listen(*loop, SocketAddress::Ipv4Loopback(0), {},
                        [this](std::unique_ptr<Stream> s) { Stream::Run(std::move(s), echo); });
  std::shared_ptr<const Dialer> dialer = std::make_shared<FixedDialer>(listener->address());
  std::unique_ptr<ConnectionPool> pool = *ConnectionPool::Create(
      *loop, {.target = {.max_open = 1000, .max_idle = 1000}, .max_open = 1000, .max_idle = 1000});
  std::vector<ConnectionPool::Target> targets;
};

// The argument is how many connections are idle.
void BM_TryBorrowAndReturn(benchmark::State& state) {
  Pool pool(1, static_cast<size_t>(state.range(0)));
  const ConnectionPool::Target target = pool.targets[0];
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    ConnectionPool::Lease lease = pool.pool->TryBorrow(target);
    lease.stream().SetHandler(pool.handler);
    lease.Return();
  }
  if (pool.pool->statistics().closed.total() != 0) state.SkipWithError("connections were lost");
}
BENCHMARK(BM_TryBorrowAndReturn)->Arg(1)->Arg(64);

// Of many targets in turn, so that what is touched is not in the nearest cache.
void BM_TryBorrowAndReturnOfManyTargets(benchmark::State& state) {
  const size_t count = static_cast<size_t>(state.range(0));
  Pool pool(count, 1);
  size_t i = 0;
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    ConnectionPool::Lease lease = pool.pool->TryBorrow(pool.targets[i++ % count]);
    lease.stream().SetHandler(pool.handler);
    lease.Return();
  }
}
BENCHMARK(BM_TryBorrowAndReturnOfManyTargets)->Arg(256);

// Whether or not there is an idle one: the answer comes in the next turn, which waits for nothing.
void BM_BorrowAndReturn(benchmark::State& state) {
  Pool pool(1, 1);
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    bool done = false;
    const ConnectionPool::Request request =
        pool.pool->Borrow(pool.targets[0], {}, [&](absl::StatusOr<ConnectionPool::Lease> lease) {
          lease->stream().SetHandler(pool.handler);
          lease->Return();
          done = true;
        });
    while (!done) pool.loop->RunOnce(absl::ZeroDuration());
  }
}
BENCHMARK(BM_BorrowAndReturn);

// A request of 64 bytes and its answer, both ends on one loop.
void BM_Request(benchmark::State& state) {
  Pool pool(1, 1);
  Counter counter;
  const std::vector<uint8_t> request(64);
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    ConnectionPool::Lease lease = pool.pool->TryBorrow(pool.targets[0]);
    counter.received = 0;
    lease.stream().SetHandler(counter);
    lease.stream().Send(request);
    pool.loop->RunUntil([&] { return counter.received == request.size(); });
    lease.Return();
  }
  if (pool.pool->statistics().closed.total() != 0) state.SkipWithError("connections were lost");
}
BENCHMARK(BM_Request);

// A connection that a dialer makes anew, within the pool's limits, and its end.
void BM_DialThroughThePool(benchmark::State& state) {
  Pool pool(0, 0);
  const PooledDialer dialer(*pool.pool, pool.dialer);
  const Endpoint endpoint = {"server", 1};
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    std::unique_ptr<Stream> stream;
    const std::unique_ptr<Dialer::Attempt> attempt = dialer.Dial(
        *pool.loop, endpoint, {},
        [&](absl::StatusOr<std::unique_ptr<Stream>> dialed) { stream = *std::move(dialed); });
    pool.loop->RunUntil([&] { return stream != nullptr; });
    stream = nullptr;
    pool.loop->RunUntil([&] { return pool.listener->connections() == 0; });
  }
}
BENCHMARK(BM_DialThroughThePool);

// A turn of that loop alone, without borrowing.
void BM_TurnAlone(benchmark::State& state) {
  Pool pool(1, 1);
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) pool.loop->RunOnce(absl::ZeroDuration());
}
BENCHMARK(BM_TurnAlone);

// The least that it could cost to lend from loop to loop: this one asks by Post, the other one
// borrows and answers by Post. Both sleep when they have nothing to do.
void BM_BorrowFromAnotherLoop(benchmark::State& state) {
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  Pool pool(1, 1);
  EventLoop& other = *pool.loop;
  std::thread thread([&other] { other.Run(); });
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    bool done = false;
    other.Post([&] {
      pool.pool->TryBorrow(pool.targets[0]).Return();
      loop->Post([&done] { done = true; });
    });
    loop->RunUntil([&done] { return done; });
  }
  other.Stop();
  thread.join();
}
BENCHMARK(BM_BorrowFromAnotherLoop)->UseRealTime();

}  // namespace
}  // namespace sluice
