#include "sluice/tools/stream_server.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/proxy/accept_proxied.h"

namespace sluice::tools {
namespace {

// How long no loop must have had an event before it counts as quiet, and how long Stop waits for
// that at most.
constexpr absl::Duration kQuiet = absl::Milliseconds(20);
constexpr absl::Duration kMaxGrace = absl::Seconds(1);

}  // namespace

SocketAddress StreamServer::Client::source() const {
  return header.source == SocketAddress() ? stream->peer_address() : header.source;
}

SocketAddress StreamServer::Client::destination() const {
  return header.source == SocketAddress() ? stream->local_address() : header.destination;
}

// What there is on one loop.
class StreamServer::Place {
 public:
  Place(EventLoop& loop, Service& service, const Options& options)
      : loop_(loop),
        service_(service),
        limits_(options.limits),
        proxy_protocol_(options.proxy_protocol),
        encryption_(options.encryption),
        on_refused_(options.on_refused) {}

  void Accept(std::unique_ptr<Stream> stream) {
    if (!proxy_protocol_) return Encrypt({std::move(stream)});
    proxy::AcceptProxied(std::move(stream), {}, [this](absl::StatusOr<proxy::Proxied> proxied) {
      if (!proxied.ok()) return Refuse(proxied.status());
      Encrypt({std::move(proxied->stream), std::move(proxied->header)});
    });
  }

  void SetEncryption(const std::shared_ptr<const ServerEncryption>& encryption) {
    encryption_ = encryption;
  }

  const EventLoop& loop() const { return loop_; }
  Service& service() { return service_; }
  uint64_t refused() const { return refused_; }

 private:
  void Encrypt(Client client) {
    if (encryption_ == nullptr) return service_.Serve(std::move(client));
    encryption_->Accept(std::move(client.stream), limits_,
                        [this, header = std::move(client.header)](
                            absl::StatusOr<std::unique_ptr<Stream>> encrypted) mutable {
                          if (!encrypted.ok()) return Refuse(encrypted.status());
                          service_.Serve({*std::move(encrypted), std::move(header)});
                        });
  }

  void Refuse(const absl::Status& status) {
    ++refused_;
    if (on_refused_) on_refused_(status);
  }

  const EventLoop& loop_;
  Service& service_;
  const StreamLimits limits_;
  const bool proxy_protocol_;
  std::shared_ptr<const ServerEncryption> encryption_;
  const std::function<void(const absl::Status&)> on_refused_;
  uint64_t refused_ = 0;
};

StreamServer::StreamServer() = default;

absl::StatusOr<std::unique_ptr<StreamServer>> StreamServer::Start(
    const Options& options, const std::vector<Service*>& services) {
  std::unique_ptr<StreamServer> server(new StreamServer);
  absl::StatusOr<std::unique_ptr<LoopGroup>> group =
      LoopGroup::Start({.threads = options.threads,
                        .poller = options.poller,
                        .busy_poll = options.busy_poll,
                        .own_descriptor_tables = options.own_descriptor_tables});
  if (!group.ok()) return group.status();
  server->group_ = *std::move(group);

  for (int i = 0; i < server->group_->size(); ++i) {
    server->places_.push_back(std::make_unique<Place>(server->group_->loop(i),
                                                      *services[static_cast<size_t>(i)], options));
  }
  server->RunOnEach([&](EventLoop& loop, int index) {
    server->places_[static_cast<size_t>(index)]->service().OnStart(loop);
  });
  const auto accept = [&places = server->places_](EventLoop& loop, std::unique_ptr<Stream> stream) {
    const auto place = std::find_if(places.begin(), places.end(), [&](const auto& candidate) {
      return &candidate->loop() == &loop;
    });
    (*place)->Accept(std::move(stream));
  };

  Listener::Options listen;
  listen.listen.reuse_port =
      options.reuse_port ? ListenOptions::ReusePort::kJoin : ListenOptions::ReusePort::kNo;
  listen.stream.limits = options.limits;
  listen.stream.idle_timeout = options.idle_timeout;
  listen.max_connections = options.max_connections;
  listen.on_shortage = options.on_refused;
  absl::StatusOr<std::unique_ptr<GroupListener>> listener =
      GroupListener::Listen(*server->group_, options.listen, listen, accept);
  if (!listener.ok()) return listener.status();
  server->listener_ = *std::move(listener);
  return server;
}

StreamServer::~StreamServer() {
  listener_.reset();
  if (places_.empty()) return;
  RunOnEach([&](EventLoop& /*loop*/, int index) {
    places_[static_cast<size_t>(index)]->service().OnEnd();
  });
  group_.reset();
}

void StreamServer::SetEncryption(const std::shared_ptr<const ServerEncryption>& encryption) {
  RunOnEach([&](EventLoop& /*loop*/, int index) {
    places_[static_cast<size_t>(index)]->SetEncryption(encryption);
  });
}

void StreamServer::RunOnEach(absl::FunctionRef<void(EventLoop& loop, int index)> function) {
  group_->RunOnEach(function);
}

uint64_t StreamServer::refused() {
  uint64_t refused = 0;
  RunOnEach([&](EventLoop& /*loop*/, int index) {
    refused += places_[static_cast<size_t>(index)]->refused();
  });
  return refused;
}

bool StreamServer::HasStreams() {
  uint64_t streams = 0;
  for (int i = 0; i < group_->size(); ++i) streams += group_->loop(i).counters().streams;
  return streams > 0;
}

uint64_t StreamServer::IoEvents() {
  uint64_t events = 0;
  for (int i = 0; i < group_->size(); ++i) events += group_->loop(i).counters().io_events;
  return events;
}

// A Close sends no answer to what is read after it. So it waits until nothing has come for a
// moment: what clients had sent when Stop was called is then answered.
absl::Duration StreamServer::AwaitQuiet(absl::Duration grace) {
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

void StreamServer::Stop(absl::Duration timeout) {
  listener_.reset();
  group_->Drain(timeout - AwaitQuiet(std::min(kMaxGrace, timeout / 4)));
}

}  // namespace sluice::tools
