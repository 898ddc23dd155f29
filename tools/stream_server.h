// StreamServer accepts connections on threads of its own and hands each to the Service of its loop:
// with TLS where there is a ServerEncryption, and behind its PROXY protocol header where there has
// to be one. `sluice echo` and `sluice relay` are services with flags.
//
// Example:
//   class Greeter : public StreamServer::Service {
//     void Serve(StreamServer::Client client) override {
//       client.stream->Send("hello");
//       ...
//     }
//   };
//   Greeter greeter;                              // one for each thread
//   std::unique_ptr<StreamServer> server =
//       *StreamServer::Start({.listen = SocketAddress::Ipv4Loopback(0)}, {&greeter});
//   server->Stop(absl::Seconds(5));
//
// To be used by the thread that made it.
#ifndef SLUICE_TOOLS_STREAM_SERVER_H_
#define SLUICE_TOOLS_STREAM_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/loop_group.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/proxy/proxy_protocol.h"
#include "sluice/tools/encryption.h"

namespace sluice::tools {

class StreamServer {
 public:
  struct Options {
    SocketAddress listen = {};
    PollerKind poller = PollerKind::kAuto;
    int threads = 1;
    absl::Duration busy_poll = absl::ZeroDuration();
    bool own_descriptor_tables = false;
    bool reuse_port = false;
    StreamLimits limits = {};
    absl::Duration idle_timeout = absl::InfiniteDuration();
    int max_connections = 100'000;
    // Each connection begins with a PROXY protocol header, before TLS.
    bool proxy_protocol = false;
    // Null for plain connections.
    std::shared_ptr<const ServerEncryption> encryption = nullptr;
    // Told why clients were not served: a handshake or header failed, or there were no descriptors.
    // Called on the loops' threads, on several at once.
    std::function<void(const absl::Status& status)> on_refused = nullptr;
  };

  struct Client {
    std::unique_ptr<Stream> stream;  // without a handler
    proxy::ProxyHeader header = {};  // with proxy_protocol

    // Whose connection it is and where it was made to: as the header says, or else the socket.
    SocketAddress source() const;
    SocketAddress destination() const;
  };

  // What becomes of the connections of one loop, on that one's thread.
  class Service {
   public:
    virtual ~Service() = default;
    // Before anything is served.
    virtual void OnStart(EventLoop& /*loop*/) {}
    virtual void Serve(Client client) = 0;
    // The loop is about to go, and with it the streams. Nothing is served from now on.
    virtual void OnEnd() {}
  };

  // Accepts connections from now on. Services: as many as threads; they must outlive the server.
  // Errors: as LoopGroup::Start and GroupListener::Listen.
  static absl::StatusOr<std::unique_ptr<StreamServer>> Start(const Options& options,
                                                             const std::vector<Service*>& services);

  // Without Stop, connections are cut.
  ~StreamServer();
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;

  const SocketAddress& address() const { return listener_->address(); }

  // Connections that are accepted from now on are encrypted by this one; the others keep theirs.
  void SetEncryption(const std::shared_ptr<const ServerEncryption>& encryption);

  // The first loop, for what else the process has to watch.
  EventLoop& loop() { return group_->loop(0); }

  // As LoopGroup's.
  void RunOnEach(absl::FunctionRef<void(EventLoop& loop, int index)> function);

  // Stops accepting, serves what has arrived and what still comes within a short grace (a quarter
  // of `timeout` at most), asks the connections to finish, and cuts those that are not gone after
  // `timeout`. Once.
  void Stop(absl::Duration timeout);

  // Clients that were refused.
  uint64_t refused();

 private:
  class Place;

  StreamServer();

  bool HasStreams();
  uint64_t IoEvents();
  absl::Duration AwaitQuiet(absl::Duration grace);

  // In this order: connections use places until the loops are gone.
  std::vector<std::unique_ptr<Place>> places_;  // one a loop, touched on its thread
  std::unique_ptr<LoopGroup> group_;
  std::unique_ptr<GroupListener> listener_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_STREAM_SERVER_H_
