// UdpSockets where threads meet: a loop that another thread goes on to run, and loops of several
// threads that share a port.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/datagram.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"
#include "sluice/core/udp.h"
#include "sluice/core/udp_testing.h"

namespace sluice {
namespace {

using test::Bytes;
using test::UdpRecorder;

std::unique_ptr<UdpSocket> Bind(EventLoop& loop, const SocketAddress& local, UdpHandler& handler) {
  return UdpSocket::Bind(loop, local, {.datagram = {.reuse_port = true}}, handler).value();
}

// What was gathered on one thread leaves on another, and what waits for an event there goes on.
TEST(UdpThreadTest, AnotherThreadMayRunTheLoop) {
  const std::unique_ptr<EventLoop> loop = test::NewLoop();
  UdpRecorder recorder;
  const std::unique_ptr<UdpSocket> socket = Bind(*loop, SocketAddress::Ipv4Loopback(0), recorder);
  for (size_t round = 1; round <= 6; ++round) {
    socket->Send(Bytes("x"), socket->local_address());
    const auto run = [&] {
      EXPECT_TRUE(test::Until(*loop, [&] { return recorder.received.size() == round; }));
    };
    if (round % 2 == 0) {
      run();
    } else {
      std::thread(run).join();
    }
  }
}

TEST(UdpThreadTest, LoopsOfSeveralThreadsShareAPort) {
  constexpr int kLoops = 3, kClients = 30;
  std::atomic<int> received{0};
  struct Server : UdpHandler {
    void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) override {
      *received += static_cast<int>(datagrams.size());
      for (const ReceivedDatagram& datagram : datagrams)
        socket.SendLent(datagram.bytes, *datagram.peer);
    }
    std::atomic<int>* received = nullptr;
  } server;
  server.received = &received;
  SocketAddress address = SocketAddress::Ipv4Loopback(0);
  std::vector<std::unique_ptr<EventLoop>> loops;
  std::vector<std::unique_ptr<UdpSocket>> sockets;
  for (int i = 0; i < kLoops; ++i) {
    loops.push_back(test::NewLoop());
    sockets.push_back(Bind(*loops.back(), address, server));
    address = sockets.back()->local_address();
  }
  std::vector<std::thread> threads;
  for (const auto& loop : loops) threads.emplace_back([&loop] { loop->Run(); });

  const std::unique_ptr<EventLoop> loop = test::NewLoop();
  UdpRecorder recorder;
  std::vector<std::unique_ptr<UdpSocket>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(UdpSocket::Connect(*loop, address, {}, recorder).value());
    clients.back()->Send(Bytes("x"));
  }
  EXPECT_TRUE(test::Until(*loop, [&] { return recorder.received.size() == kClients; }));
  for (const auto& other : loops) other->Stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(received, kClients);
}

}  // namespace
}  // namespace sluice
