#include "sluice/tools/udp_echo_server.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/udp.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kBound = absl::Seconds(30);

// A client with a loop of its own.
struct Client final : UdpHandler {
  explicit Client(const SocketAddress& server)
      : socket(*UdpSocket::Connect(*loop, server, {}, *this)) {}
  void OnDatagrams(UdpSocket&, absl::Span<const ReceivedDatagram> datagrams) override {
    for (const ReceivedDatagram& datagram : datagrams)
      received.emplace_back(datagram.bytes.begin(), datagram.bytes.end());
  }
  bool Exchange(const std::string& text) {
    const size_t before = received.size();
    socket->Send({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    return loop->RunUntil([&] { return received.size() > before; }, kBound) &&
           received.back() == text;
  }

  std::vector<std::string> received;
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const std::unique_ptr<UdpSocket> socket;
};

TEST(UdpEchoServerTest, HeaderExample) {
  std::unique_ptr<UdpEchoServer> server =
      *UdpEchoServer::Start({.listen = SocketAddress::Ipv4Loopback(0)});
  Client client(server->address());
  EXPECT_TRUE(client.Exchange("hello"));
  EXPECT_TRUE(client.Exchange(""));
  const UdpEchoTotals totals = server->Stop(absl::Seconds(5));
  EXPECT_EQ(totals.datagrams, 2u);
  EXPECT_EQ(totals.bytes, 5u);
}

TEST(UdpEchoServerTest, ThreadsShareThePort) {
  std::unique_ptr<UdpEchoServer> server =
      *UdpEchoServer::Start({.listen = SocketAddress::Ipv4Loopback(0), .threads = 4});
  for (int i = 0; i < 50; ++i) {
    Client client(server->address());
    EXPECT_TRUE(client.Exchange(absl::StrCat(i)));
  }
  EXPECT_EQ(server->Stop(absl::Seconds(5)).datagrams, 50u);
}

// A client that is connected to one address hears of no other.
TEST(UdpEchoServerTest, AnAnswerLeavesFromTheAddressThatWasAsked) {
  std::unique_ptr<UdpEchoServer> server =
      *UdpEchoServer::Start({.listen = *SocketAddress::Parse("0.0.0.0:0")});
  Client client(SocketAddress::Parse("127.0.0.5:0")->WithPort(server->address().port()));
  EXPECT_TRUE(client.Exchange("hello"));
}

TEST(UdpEchoServerTest, APortInUseIsAnErrorUnlessBothShareIt) {
  std::unique_ptr<UdpEchoServer> server = *UdpEchoServer::Start(
      {.listen = SocketAddress::Ipv4Loopback(0), .threads = 2, .reuse_port = true});
  for (const int threads : {1, 2}) {
    const absl::Status status =
        UdpEchoServer::Start({.listen = server->address(), .threads = threads}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << threads;
    EXPECT_THAT(std::string(status.message()), HasSubstr(server->address().ToString()));
  }
  EXPECT_TRUE(
      UdpEchoServer::Start({.listen = server->address(), .threads = 2, .reuse_port = true}).ok());
}

TEST(UdpEchoServerTest, WithoutStopItEndsToo) {
  std::unique_ptr<UdpEchoServer> server =
      *UdpEchoServer::Start({.listen = SocketAddress::Ipv4Loopback(0), .threads = 2});
  Client client(server->address());
  EXPECT_TRUE(client.Exchange("hello"));
  server.reset();
}

}  // namespace
}  // namespace sluice::tools
