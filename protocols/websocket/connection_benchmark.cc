// What a message, a delivery and a connection cost over loopback, both ends on one loop: time, and
// what does not depend on the machine's speed, allocations and system calls, of the two ends
// together.
//   tools/bazel run -c opt //protocols/websocket:connection_benchmark

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/internal/words.h"
#include "sluice/protocols/websocket/prepared_message.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

constexpr int kWarmUp = 100;

// A server's: answers each message with itself, and knows its connections.
struct Echo : Handler {
  void OnOpen(Connection& connection) override { open.push_back(&connection); }
  void OnMessage(Connection& connection, const Message& message) override {
    connection.SendInPlace(message);
  }
  void OnClose(Connection& connection, const CloseInfo& /*info*/) override {
    std::erase(open, &connection);
  }
  std::vector<Connection*> open;
};

// The clients': counts.
struct Counter : Handler {
  void OnOpen(Connection& /*connection*/) override { ++open; }
  void OnMessage(Connection& /*connection*/, const Message& /*message*/) override { ++received; }
  void OnClose(Connection& /*connection*/, const CloseInfo& /*info*/) override { --open; }
  size_t open = 0;
  int64_t received = 0;
};

// A server, and clients of it.
struct Pair {
  explicit Pair(std::shared_ptr<const Compression> compression = nullptr)
      : server({.connection = {.compression = compression}}),
        client(*Client::Create(
            {.connection = {.compression = compression}, .handshake = {.host = "localhost"}})) {}

  Connection& Connect() {
    const size_t before = counter.open;
    Connection* connection = nullptr;
    connector.Connect(listener->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      connection = &client->Open(*std::move(stream), counter);
    });
    loop->RunUntil([&] { return counter.open > before; });
    return *connection;
  }

  // What connections need goes after the loop, which ends them.
  Echo echo;
  Counter counter;
  const Server server;
  const std::unique_ptr<Client> client;
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const std::unique_ptr<Listener> listener = *Listener::Listen(
      *loop, SocketAddress::Ipv4Loopback(0), {},
      [this](std::unique_ptr<Stream> stream) { server.Serve(std::move(stream), echo); });
  Connector connector{*loop};
};

// A burst of so many messages of a size, and back.
void BM_Echo(benchmark::State& state, std::shared_ptr<const Compression> compression) {
  Pair pair(std::move(compression));
  Connection& connection = pair.Connect();
  const std::string message = internal::Words(static_cast<size_t>(state.range(0)), 1);
  const int64_t messages = state.range(1);
  const auto echo = [&] {
    pair.counter.received = 0;
    for (int64_t i = 0; i < messages; ++i) connection.SendText(message);
    pair.loop->RunUntil([&] { return pair.counter.received == messages; });
  };
  for (int i = 0; i < kWarmUp; ++i) echo();
  const ::sluice::internal::BenchmarkCalls calls(state, messages);
  for (auto _ : state) echo();
  state.SetItemsProcessed(state.iterations() * messages);
}
#define BURSTS ArgsProduct({{64, 1024, 16 * 1024}, {1, 16}})
BENCHMARK_CAPTURE(BM_Echo, plain, nullptr)->BURSTS;
BENCHMARK_CAPTURE(BM_Echo, deflate, *Deflate::Create({}))->BURSTS;

// One message to so many connections; for each delivery.
void BM_Broadcast(benchmark::State& state) {
  Pair pair;
  const int64_t connections = state.range(0);
  for (int64_t i = 0; i < connections; ++i) pair.Connect();
  const std::string message = internal::Words(static_cast<size_t>(state.range(1)), 1);
  const auto broadcast = [&] {
    pair.counter.received = 0;
    const PreparedMessage prepared = PreparedMessage::Text(message);
    for (Connection* connection : pair.echo.open) connection->Send(prepared);
    pair.loop->RunUntil([&] { return pair.counter.received == connections; });
  };
  for (int i = 0; i < kWarmUp; ++i) broadcast();
  const ::sluice::internal::BenchmarkCalls calls(state, connections);
  for (auto _ : state) broadcast();
  state.SetItemsProcessed(state.iterations() * connections);
}
BENCHMARK(BM_Broadcast)->ArgsProduct({{10, 200}, {64, 1024, 16 * 1024}});

// Connecting, the opening handshake, a message, and the closing handshake.
void BM_Connection(benchmark::State& state) {
  Pair pair;
  const auto connection = [&] {
    Connection& client = pair.Connect();
    pair.counter.received = 0;
    client.SendText("m");
    pair.loop->RunUntil([&] { return pair.counter.received == 1; });
    client.Close();
    pair.loop->RunUntil([&] { return pair.counter.open == 0 && pair.echo.open.empty(); });
  };
  for (int i = 0; i < kWarmUp; ++i) connection();
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) connection();
}
BENCHMARK(BM_Connection);

}  // namespace
}  // namespace sluice::websocket
