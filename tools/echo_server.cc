#include "sluice/tools/echo_server.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"

namespace sluice::tools {
namespace {

// An echo answers a whole message at once, also when others are queued up to the high mark.
StreamLimits LimitsFor(size_t max_message_bytes) {
  StreamLimits limits;
  const uint64_t needed = uint64_t{limits.high} + max_message_bytes + 64 * 1024;
  limits.hard = static_cast<uint32_t>(
      std::clamp<uint64_t>(needed, limits.hard, std::numeric_limits<uint32_t>::max()));
  return limits;
}

}  // namespace

// What there is on one loop.
class EchoServer::Place final : public StreamServer::Service {
 public:
  explicit Place(std::unique_ptr<EchoService> service) : service_(std::move(service)) {}

  void Serve(StreamServer::Client client) override { service_->Serve(std::move(client.stream)); }
  const EchoTotals& totals() const { return service_->totals(); }

 private:
  const std::unique_ptr<EchoService> service_;
};

EchoServer::EchoServer() = default;

absl::StatusOr<std::unique_ptr<EchoServer>> EchoServer::Start(const Options& options) {
  std::unique_ptr<EchoServer> server(new EchoServer);
  std::vector<StreamServer::Service*> services;
  for (int i = 0; i < options.threads; ++i) {
    absl::StatusOr<std::unique_ptr<EchoService>> service = options.protocol->NewEchoService(
        {.max_message_bytes = options.max_message_bytes, .compress = options.compress});
    if (!service.ok()) return service.status();
    server->places_.push_back(std::make_unique<Place>(*std::move(service)));
    services.push_back(server->places_.back().get());
  }
  StreamServer::Options streams = options;
  streams.limits = LimitsFor(options.max_message_bytes);
  absl::StatusOr<std::unique_ptr<StreamServer>> started = StreamServer::Start(streams, services);
  if (!started.ok()) return started.status();
  server->streams_ = *std::move(started);
  return server;
}

EchoServer::~EchoServer() = default;

EchoTotals EchoServer::Stop(absl::Duration timeout) {
  streams_->Stop(timeout);
  EchoTotals totals;
  streams_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    totals += places_[static_cast<size_t>(index)]->totals();
  });
  totals.handshake_errors = streams_->refused();
  return totals;
}

}  // namespace sluice::tools
