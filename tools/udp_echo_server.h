// UdpEchoServer sends each datagram back to where it came from, on threads of its own. `sluice
// echo --protocol=udp` is this with flags.
//
// Example:
//   std::unique_ptr<UdpEchoServer> server =
//       *UdpEchoServer::Start({.listen = SocketAddress::Ipv4Loopback(0)});
//   std::cout << server->address().ToString();
//   UdpEchoTotals totals = server->Stop(absl::Seconds(5));
//
// Each thread has a socket of its own on the same port, and the system spreads the senders over
// them. An answer leaves from the address that the datagram was sent to.
//
// To be used by the thread that made it.
#ifndef SLUICE_TOOLS_UDP_ECHO_SERVER_H_
#define SLUICE_TOOLS_UDP_ECHO_SERVER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/loop_group.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice::tools {

struct UdpEchoTotals {
  uint64_t datagrams = 0;  // that have arrived
  uint64_t bytes = 0;      // that they had
  // Further ones, for which the receive buffers had no room, as the system counts them: on Linux a
  // run that its sender has sent as one is one.
  uint64_t unread = 0;
  uint64_t unsent = 0;  // of those that have arrived: answers for which the queues had no room
  uint64_t errors = 0;  // answers that could not be sent, or did not get there
};

class UdpEchoServer {
 public:
  struct Options {
    SocketAddress listen = {};
    PollerKind poller = PollerKind::kAuto;
    int threads = 1;
    absl::Duration busy_poll = absl::ZeroDuration();
    bool reuse_port = false;  // lets other processes share the port
  };

  // Answers from now on. Errors: as LoopGroup::Start and UdpSocket::Bind.
  static absl::StatusOr<std::unique_ptr<UdpEchoServer>> Start(const Options& options);

  ~UdpEchoServer();
  UdpEchoServer(const UdpEchoServer&) = delete;
  UdpEchoServer& operator=(const UdpEchoServer&) = delete;

  const SocketAddress& address() const { return address_; }

  // The first loop, for what else the process has to watch.
  EventLoop& loop() { return group_->loop(0); }

  // Answers what has arrived and what still comes within a short grace, at most `timeout`. Returns
  // what the server has done until then; its sockets are closed when it is destroyed. Once.
  UdpEchoTotals Stop(absl::Duration timeout);

 private:
  class Place;

  UdpEchoServer();

  absl::Status Bind(const Options& options);
  UdpEchoTotals Totals();
  bool HasQueued();
  void AwaitQuiet(absl::Duration grace);

  std::vector<std::unique_ptr<Place>> places_;  // one a loop, touched on its thread
  std::unique_ptr<LoopGroup> group_;
  SocketAddress address_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_UDP_ECHO_SERVER_H_
