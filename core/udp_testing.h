// What the tests of UdpSocket share: the engines, a handler that notes what happens, and an engine
// that takes no more than the test lets it.
//
// Example:
//   class MyUdpTest : public test::UdpTest {};
//   TEST_P(MyUdpTest, ...) { test::UdpRecorder recorder; auto socket = Bind(recorder); ... }
//   SLUICE_INSTANTIATE_UDP_TEST(MyUdpTest);
//
// Loop-bound.
#ifndef SLUICE_CORE_UDP_TESTING_H_
#define SLUICE_CORE_UDP_TESTING_H_

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/datagram.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/forwarding_poller.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"
#include "sluice/core/udp.h"

namespace sluice::test {

// What the tests run on. A further engine adds a line to UdpEngines().
struct UdpEngine {
  const char* name;
  std::function<absl::StatusOr<std::unique_ptr<Poller>>()> make;
  bool has_network = true;  // a system's, with ICMP, multicast, packet information and drops
  bool is_simulated = false;
};

inline void PrintTo(const UdpEngine& engine, std::ostream* out) { *out << engine.name; }

std::vector<UdpEngine> UdpEngines();

inline absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A datagram that was received, kept.
struct KeptDatagram {
  std::string bytes;
  SocketAddress peer;
  std::optional<SocketAddress> local;
  uint32_t interface;
  int ttl;
  int ecn;
  bool truncated;
};

// Notes what happens to a socket, and does in each callback what the test wants.
struct UdpRecorder : UdpHandler {
  void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) override {
    EXPECT_FALSE(datagrams.empty());
    batches.push_back(datagrams.size());
    for (const ReceivedDatagram& d : datagrams) {
      received.push_back({std::string(d.bytes.begin(), d.bytes.end()), *d.peer, std::nullopt,
                          d.interface, d.ttl, d.ecn, d.truncated});
      if (d.local != nullptr) received.back().local = *d.local;
      // Lent, and writable.
      std::fill(d.bytes.begin(), d.bytes.end(), uint8_t{0xDD});
    }
    if (on_datagrams) on_datagrams(socket);
  }
  void OnSendReady(UdpSocket& socket) override {
    ++readies;
    if (on_send_ready) on_send_ready(socket);
  }
  void OnError(UdpSocket& socket, const absl::Status& status, const SocketAddress& peer) override {
    errors.emplace_back(status, peer);
    if (on_error) on_error(socket);
  }
  void OnDrain(UdpSocket& socket) override {
    ++drains;
    if (on_drain) return on_drain(socket);
    UdpHandler::OnDrain(socket);
  }

  std::vector<std::string> Texts() const {
    std::vector<std::string> texts;
    for (const KeptDatagram& kept : received) texts.push_back(kept.bytes);
    return texts;
  }

  std::vector<KeptDatagram> received;
  std::vector<size_t> batches;
  std::vector<std::pair<absl::Status, SocketAddress>> errors;
  int readies = 0;
  int drains = 0;
  std::function<void(UdpSocket&)> on_datagrams, on_send_ready, on_error, on_drain;
};

// Sends back what it gets.
class UdpEcho : public UdpHandler {
  void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) override {
    for (const ReceivedDatagram& datagram : datagrams)
      socket.SendLent(datagram.bytes, *datagram.peer);
  }
};

// Another engine, which takes no more datagrams than the test lets it.
class ReluctantPoller final : public ForwardingPoller {
 public:
  using ForwardingPoller::ForwardingPoller;

  size_t may_take = 0;

  // Room for so many more; says so in the next turn.
  void Take(size_t count) {
    may_take = count;
    if (blocked_ != nullptr) ready_ = true;
    Wake();
  }

  size_t Wait(MonotonicTime deadline) override {
    size_t events = real().Wait(ready_ ? MonotonicTime() : deadline);
    if (!std::exchange(ready_, false)) return events;
    std::exchange(blocked_, nullptr)->OnSendReady();
    return events + 1;
  }
  using ForwardingPoller::Close;
  void Close(Socket& socket, bool abort) override {
    if (blocked_ == &socket) {
      blocked_ = nullptr;
      ready_ = false;
    }
    real().Close(socket, abort);
  }
  DatagramsSent SendDatagrams(Socket& socket,
                              absl::Span<const OutgoingDatagram> datagrams) override {
    EXPECT_EQ(blocked_, nullptr) << "sent to an engine that has no room";
    const size_t most = std::min(may_take, datagrams.size());
    DatagramsSent sent = {0, 0};
    if (most != 0) sent = real().SendDatagrams(socket, datagrams.first(most));
    may_take -= sent.taken;
    if (sent.error == 0 && sent.taken < datagrams.size()) {
      sent.error = EAGAIN;
      blocked_ = &socket;
    }
    return sent;
  }

 private:
  Socket* blocked_ = nullptr;
  bool ready_ = false;
};

class UdpTest : public testing::TestWithParam<UdpEngine> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Poller>> poller = GetParam().make();
    if (absl::IsUnimplemented(poller.status()) || absl::IsPermissionDenied(poller.status()))
      GTEST_SKIP() << poller.status();
    ASSERT_TRUE(poller.ok()) << poller.status();
    loop_ = std::make_unique<EventLoop>(*std::move(poller));
  }

  // The test's own engine between the loop and the one under test.
  ReluctantPoller& UseReluctantPoller() {
    auto poller = std::make_unique<ReluctantPoller>(*GetParam().make());
    ReluctantPoller& reluctant = *poller;
    loop_ = std::make_unique<EventLoop>(std::move(poller));
    return reluctant;
  }

  std::unique_ptr<UdpSocket> Bind(UdpHandler& handler, const UdpSocket::Options& options = {},
                                  const SocketAddress& local = SocketAddress::Ipv4Loopback(0)) {
    absl::StatusOr<std::unique_ptr<UdpSocket>> socket =
        UdpSocket::Bind(*loop_, local, options, handler);
    EXPECT_TRUE(socket.ok()) << socket.status();
    return socket.ok() ? *std::move(socket) : nullptr;
  }

  std::unique_ptr<UdpSocket> Connect(UdpHandler& handler, const SocketAddress& peer,
                                     const UdpSocket::Options& options = {}) {
    absl::StatusOr<std::unique_ptr<UdpSocket>> socket =
        UdpSocket::Connect(*loop_, peer, options, handler);
    EXPECT_TRUE(socket.ok()) << socket.status();
    return socket.ok() ? *std::move(socket) : nullptr;
  }

  // An address at which nobody is.
  SocketAddress Nobody() {
    UdpRecorder recorder;
    return Bind(recorder)->local_address();
  }

  bool Until(absl::FunctionRef<bool()> done) { return test::Until(*loop_, done); }

  // What was sent until now has arrived, or is lost: the system's loopback delivers within a send.
  void Settle() {
    for (int i = 0; i < 10; ++i) loop_->RunOnce(absl::ZeroDuration());
  }

  std::unique_ptr<EventLoop> loop_;
};

#define SLUICE_INSTANTIATE_UDP_TEST(Suite)                                           \
  INSTANTIATE_TEST_SUITE_P(UdpEngines, Suite, testing::ValuesIn(test::UdpEngines()), \
                           [](const auto& engine) { return std::string(engine.param.name); })

}  // namespace sluice::test

#endif  // SLUICE_CORE_UDP_TESTING_H_
