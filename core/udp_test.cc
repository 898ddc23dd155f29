#include "sluice/core/udp.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

class Echo : public UdpHandler {
  void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) override {
    for (const ReceivedDatagram& datagram : datagrams)
      socket.SendLent(datagram.bytes, *datagram.peer);
  }
};

struct Recorder : UdpHandler {
  void OnDatagrams(UdpSocket&, absl::Span<const ReceivedDatagram> datagrams) override {
    for (const ReceivedDatagram& datagram : datagrams)
      received.emplace_back(datagram.bytes.begin(), datagram.bytes.end());
  }
  std::vector<std::string> received;
};

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(UdpTest, HeaderExample) {
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  Echo echo;
  auto server = UdpSocket::Bind(*loop, SocketAddress::Ipv4Loopback(0), {}, echo);
  ASSERT_TRUE(server.ok()) << server.status();
  Recorder recorder;
  auto client = UdpSocket::Connect(*loop, (*server)->local_address(), {}, recorder);
  ASSERT_TRUE(client.ok()) << client.status();
  for (int i = 0; i < 100; ++i) EXPECT_EQ((*client)->Send(Bytes("hello")), UdpSendResult::kSent);
  EXPECT_TRUE(test::Until(*loop, [&] { return recorder.received.size() == 100; }));
  EXPECT_EQ(recorder.received[99], "hello");
}

}  // namespace
}  // namespace sluice
