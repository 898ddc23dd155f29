// What a message, a connection and a batch of datagrams cost over loopback, both ends on one loop:
// time, and what does not depend on the machine's speed, allocations and system calls, of the two
// ends together.
//   tools/bazel run -c opt //core:tcp_benchmark
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/udp.h"

namespace sluice {
namespace {

constexpr int kWarmUp = 100;

class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }
};

// Counts what arrives.
struct Counter : StreamHandler {
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    received += bytes.size();
  }
  void OnClose(Stream& /*stream*/, const absl::Status& /*status*/) override { closed = true; }
  size_t received = 0;
  bool closed = false;
};

std::unique_ptr<EventLoop> NewLoop(benchmark::State& state, PollerKind kind) {
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create(kind);
  if (loop.ok()) return *std::move(loop);
  state.SkipWithError(std::string(loop.status().message()).c_str());
  return nullptr;
}

// A server, and a client of it.
struct Server {
  explicit Server(EventLoop& l) : loop(l) {}
  void Connect(Counter& counter) {
    counter = Counter();
    connector.Connect(listener->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      client = *std::move(stream);
      client->SetHandler(counter);
    });
    loop.RunUntil([this] { return client != nullptr; });
  }

  EventLoop& loop;
  Echo echo;
  std::unique_ptr<Listener> listener = *Listener::Listen(
      loop, SocketAddress::Ipv4Loopback(0), {},
      [this](std::unique_ptr<Stream> stream) { Stream::Run(std::move(stream), echo); });
  Connector connector{loop};
  std::unique_ptr<Stream> client;
};

// A burst of so many messages of a size, and back.
void BM_Echo(benchmark::State& state, PollerKind kind) {
  const std::unique_ptr<EventLoop> loop = NewLoop(state, kind);
  if (loop == nullptr) return;
  Server server(*loop);
  Counter counter;
  server.Connect(counter);
  const std::string message(static_cast<size_t>(state.range(0)), 'm');
  const int64_t messages = state.range(1);
  const auto echo = [&] {
    counter.received = 0;
    for (int64_t i = 0; i < messages; ++i) server.client->Send(message);
    loop->RunUntil(
        [&] { return counter.received == message.size() * static_cast<size_t>(messages); });
  };
  for (int i = 0; i < kWarmUp; ++i) echo();
  const internal::BenchmarkCalls calls(state, messages);
  for (auto _ : state) echo();
  state.SetItemsProcessed(state.iterations() * messages);
}
#define BURSTS ArgsProduct({{64, 1024, 16 * 1024}, {1, 16}})
BENCHMARK_CAPTURE(BM_Echo, epoll, PollerKind::kEpoll)->BURSTS;
BENCHMARK_CAPTURE(BM_Echo, io_uring, PollerKind::kIoUring)->BURSTS;

// Connecting, accepting, a message, and a graceful end on both sides.
void BM_Connection(benchmark::State& state, PollerKind kind) {
  const std::unique_ptr<EventLoop> loop = NewLoop(state, kind);
  if (loop == nullptr) return;
  Server server(*loop);
  Counter counter;
  const auto connection = [&] {
    server.Connect(counter);
    server.client->Send("m");
    loop->RunUntil([&] { return counter.received != 0; });
    server.client->Close();
    loop->RunUntil([&] { return counter.closed && server.listener->connections() == 0; });
    server.client = nullptr;
  };
  for (int i = 0; i < kWarmUp; ++i) connection();
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) connection();
}
BENCHMARK_CAPTURE(BM_Connection, epoll, PollerKind::kEpoll);
BENCHMARK_CAPTURE(BM_Connection, io_uring, PollerKind::kIoUring);

class EchoDatagrams : public UdpHandler {
  void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) override {
    for (const ReceivedDatagram& datagram : datagrams)
      socket.SendLent(datagram.bytes, *datagram.peer);
  }
};
struct CountDatagrams : UdpHandler {
  void OnDatagrams(UdpSocket& /*socket*/, absl::Span<const ReceivedDatagram> datagrams) override {
    received += datagrams.size();
  }
  size_t received = 0;
};

// So many datagrams, and back.
void BM_Datagrams(benchmark::State& state, PollerKind kind) {
  const std::unique_ptr<EventLoop> loop = NewLoop(state, kind);
  if (loop == nullptr) return;
  EchoDatagrams echo;
  CountDatagrams count;
  const auto server = *UdpSocket::Bind(*loop, SocketAddress::Ipv4Loopback(0), {}, echo);
  const auto client = *UdpSocket::Bind(*loop, SocketAddress::Ipv4Loopback(0), {}, count);
  const SocketAddress to = server->local_address();
  const std::vector<uint8_t> bytes(1024);
  const int64_t datagrams = state.range(0);
  const auto batch = [&] {
    count.received = 0;
    for (int64_t i = 0; i < datagrams; ++i) client->Send(bytes, to);
    loop->RunUntil([&] { return count.received == static_cast<size_t>(datagrams); });
  };
  for (int i = 0; i < kWarmUp; ++i) batch();
  const internal::BenchmarkCalls calls(state, datagrams);
  for (auto _ : state) batch();
  state.SetItemsProcessed(state.iterations() * datagrams);
}
BENCHMARK_CAPTURE(BM_Datagrams, epoll, PollerKind::kEpoll)->Arg(1)->Arg(16);
BENCHMARK_CAPTURE(BM_Datagrams, io_uring, PollerKind::kIoUring)->Arg(1)->Arg(16);

}  // namespace
}  // namespace sluice
