// RelayService passes the connections of one loop on to backends, both ways, until both sides have
// ended (core/forwarder.h). Each is connected to the backend that Balancer chooses; where that
// cannot be, to another one, as long as the deadline for all tries has not passed. Nothing is taken
// from the client before a backend is there, so that no byte is lost; when there is none, the
// client is cut.
//
// Loop-bound, but for its construction.
#ifndef SLUICE_TOOLS_RELAY_SERVICE_H_
#define SLUICE_TOOLS_RELAY_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/forwarder.h"
#include "sluice/protocols/proxy/proxy_protocol.h"
#include "sluice/tools/balancer.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/stream_server.h"

namespace sluice::tools {

struct RelayOptions {
  struct Backend {
    std::string name = {};  // as the user has called it
    Endpoint endpoint = {};
    std::shared_ptr<const Dialer> dialer = nullptr;
    std::shared_ptr<const ClientEncryption> encryption = nullptr;  // over it; null for none
  };

  std::vector<Backend> backends;  // at least one
  absl::Duration connect_timeout = absl::Seconds(10);
  size_t pool_idle = 0;  // connections to each backend that are kept in reserve
  // The header that each backend gets before all else, also before TLS, if any.
  std::optional<proxy::ProxyHeader::Version> header = std::nullopt;
  Forwarder::Options forwarder = {};
  // Told what went wrong with a backend. Called on the loops' threads, on several at once.
  std::function<void(const absl::Status& status)> on_trouble = [](const absl::Status&) {};
};

struct RelayTotals {
  uint64_t connections = 0;
  uint64_t errors = 0;  // that did not end in good order, on both sides
  std::vector<Balancer::Counters> backends = {};

  RelayTotals& operator+=(const RelayTotals& other);
};

class RelayService final : public StreamServer::Service {
 public:
  // `options` must outlive the service.
  explicit RelayService(const RelayOptions& options);
  ~RelayService() override;

  void OnStart(EventLoop& loop) override;
  void Serve(StreamServer::Client client) override;
  void OnEnd() override;

  RelayTotals totals() const;  // so far

 private:
  class Session;

  void OnSessionEnd(Session& session, bool in_good_order);

  const RelayOptions& options_;
  Balancer backends_;
  std::unique_ptr<ConnectionPool> pool_;  // null for none
  std::vector<ConnectionPool::Target> reserve_;
  std::vector<std::shared_ptr<const Dialer>> dialers_;  // to each backend
  uint64_t connections_ = 0;
  uint64_t errors_ = 0;
  bool has_ended_ = false;
  std::unordered_map<Session*, std::unique_ptr<Session>> sessions_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_RELAY_SERVICE_H_
