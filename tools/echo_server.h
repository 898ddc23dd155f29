// EchoServer sends back what its clients send, with any Protocol, on threads of its own. `sluice
// echo` is this with flags; `sluice demo` loads it from within the same process.
//
// Example:
//   std::unique_ptr<EchoServer> server =
//       *EchoServer::Start({.protocol = protocol, .listen = SocketAddress::Ipv4Loopback(0)});
//   std::cout << server->address().ToString();
//   EchoTotals totals = server->Stop(absl::Seconds(5));
//
// To be used by the thread that made it.
#ifndef SLUICE_TOOLS_ECHO_SERVER_H_
#define SLUICE_TOOLS_ECHO_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/loop_group.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

class EchoServer {
 public:
  struct Options {
    const Protocol* protocol = nullptr;  // must outlive the server
    SocketAddress listen = {};
    PollerKind poller = PollerKind::kAuto;
    int threads = 1;
    bool own_descriptor_tables = false;
    bool reuse_port = false;
    size_t max_message_bytes = 1024 * 1024;
    bool compress = false;  // needs a protocol that can
    absl::Duration idle_timeout = absl::InfiniteDuration();
    int max_connections = 100'000;
    // Null for plain connections.
    std::shared_ptr<const ServerEncryption> encryption = nullptr;
    // Told why a client's handshake failed; called on the loops' threads, on several at once.
    std::function<void(const absl::Status& status)> on_handshake_error = nullptr;
  };

  // Accepts connections from now on. Errors: as LoopGroup::Start, Protocol::NewEchoService and
  // GroupListener::Listen.
  static absl::StatusOr<std::unique_ptr<EchoServer>> Start(const Options& options);

  // Without Stop, connections are cut.
  ~EchoServer();
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  const SocketAddress& address() const { return listener_->address(); }

  // Connections that are accepted from now on are encrypted by this one; the others keep theirs.
  void SetEncryption(const std::shared_ptr<const ServerEncryption>& encryption);

  // The first loop, for what else the process has to watch.
  EventLoop& loop() { return group_->loop(0); }

  // Stops accepting, answers what has arrived and what still comes within a short grace, closes the
  // connections, and cuts those that are not gone after `timeout`. Returns what the server has done
  // in its life. Once.
  EchoTotals Stop(absl::Duration timeout);

 private:
  class Place;

  EchoServer();

  bool HasStreams();
  uint64_t IoEvents();
  absl::Duration AwaitQuiet(absl::Duration grace);

  // In this order: connections use places until the loops are gone.
  std::vector<std::unique_ptr<Place>> places_;  // one a loop, touched on its thread
  std::unique_ptr<LoopGroup> group_;
  std::unique_ptr<GroupListener> listener_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_ECHO_SERVER_H_
