// EchoServer sends back what its clients send, with any Protocol, on threads of its own. `sluice
// echo` is this with flags; `sluice demo` loads it from within the same process.
//
// Example:
//   EchoServer::Options options = {{.listen = SocketAddress::Ipv4Loopback(0)}};
//   options.protocol = protocol;
//   std::unique_ptr<EchoServer> server = *EchoServer::Start(options);
//   std::cout << server->address().ToString();
//   EchoTotals totals = server->Stop(absl::Seconds(5));
//
// To be used by the thread that made it.
#ifndef SLUICE_TOOLS_ECHO_SERVER_H_
#define SLUICE_TOOLS_ECHO_SERVER_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/stream_server.h"

namespace sluice::tools {

class EchoServer {
 public:
  // The limits are the protocol's own.
  struct Options : StreamServer::Options {
    const Protocol* protocol = nullptr;  // must outlive the server
    size_t max_message_bytes = 1024 * 1024;
    bool compress = false;  // needs a protocol that can
  };

  // Accepts connections from now on. Errors: as StreamServer::Start and Protocol::NewEchoService.
  static absl::StatusOr<std::unique_ptr<EchoServer>> Start(const Options& options);

  // Without Stop, connections are cut.
  ~EchoServer();
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  const SocketAddress& address() const { return streams_->address(); }
  StreamServer& streams() { return *streams_; }

  // Stops accepting, answers what has arrived and what still comes within a short grace, closes the
  // connections, and cuts those that are not gone after `timeout`. Returns what the server has done
  // in its life. Once.
  EchoTotals Stop(absl::Duration timeout);

 private:
  class Place;

  EchoServer();

  // In this order: connections use places until the loops are gone.
  std::vector<std::unique_ptr<Place>> places_;  // one a loop, touched on its thread
  std::unique_ptr<StreamServer> streams_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_ECHO_SERVER_H_
