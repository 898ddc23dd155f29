#include "sluice/tools/echo_server.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/time/clock.h"

namespace sluice::tools {
namespace {

// How long no loop must have had an event before it counts as quiet, and how long Stop waits for
// that at most.
constexpr absl::Duration kQuiet = absl::Milliseconds(20);
constexpr absl::Duration kMaxGrace = absl::Seconds(1);

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
class EchoServer::Place {
 public:
  Place(EventLoop& loop, std::unique_ptr<EchoService> service, const Options& options)
      : loop_(loop),
        service_(std::move(service)),
        limits_(LimitsFor(options.max_message_bytes)),
        encryption_(options.encryption),
        on_handshake_error_(options.on_handshake_error) {}

  void Serve(std::unique_ptr<Stream> stream) {
    if (encryption_ == nullptr) return service_->Serve(std::move(stream));
    encryption_->Accept(std::move(stream), limits_,
                        [this](absl::StatusOr<std::unique_ptr<Stream>> encrypted) {
                          OnHandshake(std::move(encrypted));
                        });
  }

  void SetEncryption(const std::shared_ptr<const ServerEncryption>& encryption) {
    encryption_ = encryption;
  }

  const EventLoop& loop() const { return loop_; }
  EchoTotals totals() const {
    EchoTotals totals = service_->totals();
    totals.handshake_errors = handshake_errors_;
    return totals;
  }

 private:
  void OnHandshake(absl::StatusOr<std::unique_ptr<Stream>> stream) {
    if (stream.ok()) return service_->Serve(*std::move(stream));
    ++handshake_errors_;
    if (on_handshake_error_) on_handshake_error_(stream.status());
  }

  const EventLoop& loop_;
  const std::unique_ptr<EchoService> service_;
  const StreamLimits limits_;
  std::shared_ptr<const ServerEncryption> encryption_;
  const std::function<void(const absl::Status&)> on_handshake_error_;
  uint64_t handshake_errors_ = 0;
};

EchoServer::EchoServer() = default;

absl::StatusOr<std::unique_ptr<EchoServer>> EchoServer::Start(const Options& options) {
  std::unique_ptr<EchoServer> server(new EchoServer);
  absl::StatusOr<std::unique_ptr<LoopGroup>> group =
      LoopGroup::Start({.threads = options.threads,
                        .poller = options.poller,
                        .own_descriptor_tables = options.own_descriptor_tables});
  if (!group.ok()) return group.status();
  server->group_ = *std::move(group);

  std::vector<Place*> places;
  for (int i = 0; i < server->group_->size(); ++i) {
    absl::StatusOr<std::unique_ptr<EchoService>> service = options.protocol->NewEchoService(
        {.max_message_bytes = options.max_message_bytes, .compress = options.compress});
    if (!service.ok()) return service.status();
    server->places_.push_back(
        std::make_unique<Place>(server->group_->loop(i), *std::move(service), options));
    places.push_back(server->places_.back().get());
  }
  const auto serve = [places](EventLoop& loop, std::unique_ptr<Stream> stream) {
    const auto place = std::find_if(places.begin(), places.end(),
                                    [&](Place* candidate) { return &candidate->loop() == &loop; });
    (*place)->Serve(std::move(stream));
  };

  Listener::Options listen;
  listen.listen.reuse_port =
      options.reuse_port ? ListenOptions::ReusePort::kJoin : ListenOptions::ReusePort::kNo;
  listen.stream.limits = LimitsFor(options.max_message_bytes);
  listen.stream.idle_timeout = options.idle_timeout;
  listen.max_connections = options.max_connections;
  absl::StatusOr<std::unique_ptr<GroupListener>> listener =
      GroupListener::Listen(*server->group_, options.listen, listen, serve);
  if (!listener.ok()) return listener.status();
  server->listener_ = *std::move(listener);
  return server;
}

EchoServer::~EchoServer() {
  listener_.reset();
  group_.reset();
}

void EchoServer::SetEncryption(const std::shared_ptr<const ServerEncryption>& encryption) {
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    places_[static_cast<size_t>(index)]->SetEncryption(encryption);
  });
}

bool EchoServer::HasStreams() {
  uint64_t streams = 0;
  for (int i = 0; i < group_->size(); ++i) streams += group_->loop(i).counters().streams;
  return streams > 0;
}

uint64_t EchoServer::IoEvents() {
  uint64_t events = 0;
  for (int i = 0; i < group_->size(); ++i) events += group_->loop(i).counters().io_events;
  return events;
}

// A Close sends no answer to what is read after it. So it waits until nothing has come for a
// moment: what clients had sent when Stop was called is then answered.
absl::Duration EchoServer::AwaitQuiet(absl::Duration grace) {
  uint64_t seen = IoEvents();
  absl::Duration waited;
  while (waited < grace && HasStreams()) {
    absl::SleepFor(kQuiet);
    waited += kQuiet;
    if (IoEvents() == seen) break;
    seen = IoEvents();
  }
  return waited;
}

EchoTotals EchoServer::Stop(absl::Duration timeout) {
  listener_.reset();
  group_->Drain(timeout - AwaitQuiet(std::min(kMaxGrace, timeout / 2)));
  EchoTotals totals;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    totals += places_[static_cast<size_t>(index)]->totals();
  });
  return totals;
}

}  // namespace sluice::tools
