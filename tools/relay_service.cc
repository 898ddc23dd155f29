#include "sluice/tools/relay_service.h"

#include <algorithm>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/pooled_dialer.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/proxy/header_dialer.h"

namespace sluice::tools {

// One client's connection.
class RelayService::Session final : private StreamHandler {
 public:
  Session(RelayService& service, StreamServer::Client client)
      : service_(service),
        loop_(client.stream->loop()),
        client_(std::move(client)),
        deadline_(loop_.now() + service.options_.connect_timeout),
        tried_(service.backends_.size()) {
    client_.stream->SetIdleTimeout(absl::InfiniteDuration());
    client_.stream->PauseReceiving();
    client_.stream->SetHandler(*this);
  }

  ~Session() override {
    if (backend_.has_value()) service_.backends_.OnEnded(*backend_);
  }

  // The next backend, or the end.
  void Connect() {
    const MonotonicTime now = loop_.now();
    const absl::Duration left = deadline_ - now;
    backend_ = left > absl::ZeroDuration() ? service_.backends_.Begin(now, tried_) : std::nullopt;
    if (!backend_.has_value()) return service_.OnSessionEnd(*this, false);
    tried_[*backend_] = true;
    // What is left is for all that have not been tried, so that one that does not answer leaves the
    // others time.
    const auto untried = 1 + std::count(tried_.begin(), tried_.end(), false);
    attempt_ = NewDialer()->Dial(
        loop_, service_.options_.backends[*backend_].endpoint, {.timeout = left / untried},
        [this](absl::StatusOr<std::unique_ptr<Stream>> stream) { OnDialed(std::move(stream)); });
  }

  // Tells the backend, if there is one, and how many bytes have gone to it and come from it.
  void AddBytes(absl::FunctionRef<void(size_t backend, uint64_t up, uint64_t down)> add) const {
    if (!forwarder_.has_value()) return;
    const Forwarder::Outcome outcome = forwarder_->so_far();
    add(*backend_, outcome.second.sent, outcome.first.sent);
  }

 private:
  // The client's, as long as there is no backend: when it has gone, none is needed.
  void OnReceive(Stream&, absl::Span<uint8_t>) override {}  // it is paused
  void OnClose(Stream&, const absl::Status&) override { service_.OnSessionEnd(*this, false); }

  // With a header of this client's where the backend is to get one, and TLS above that.
  std::shared_ptr<const Dialer> NewDialer() const {
    std::shared_ptr<const Dialer> dialer = service_.dialers_[*backend_];
    if (!service_.options_.header.has_value()) return dialer;
    dialer = std::make_shared<proxy::HeaderDialer>(
        std::move(dialer), proxy::ProxyHeader{.version = *service_.options_.header,
                                              .source = client_.source(),
                                              .destination = client_.destination()});
    const auto& encryption = service_.options_.backends[*backend_].encryption;
    return encryption == nullptr ? dialer : encryption->Over(std::move(dialer));
  }

  void OnDialed(absl::StatusOr<std::unique_ptr<Stream>> stream) {
    if (stream.ok()) return OnConnected(*std::move(stream));
    const absl::Status& status = stream.status();
    service_.options_.on_trouble(status);
    // No backend's doing: the loop drains, or this system has no more.
    if (absl::IsCancelled(status) || absl::IsResourceExhausted(status))
      return service_.OnSessionEnd(*this, false);
    service_.backends_.OnFailed(*std::exchange(backend_, std::nullopt), loop_.now());
    Connect();
  }

  void OnConnected(std::unique_ptr<Stream> stream) {
    service_.backends_.OnConnected(*backend_);
    forwarder_.emplace(std::move(client_.stream), std::move(stream), service_.options_.forwarder);
    forwarder_->Start([this](const Forwarder::Outcome& outcome) { OnForwarded(outcome); });
    attempt_.reset();
  }

  void OnForwarded(const Forwarder::Outcome& outcome) {
    const absl::Status& backend = outcome.second.status;
    if (!backend.ok() && !absl::IsAborted(backend)) service_.options_.on_trouble(backend);
    service_.OnSessionEnd(*this, outcome.first.status.ok() && backend.ok());
  }

  RelayService& service_;
  EventLoop& loop_;
  StreamServer::Client client_;
  const MonotonicTime deadline_;
  std::vector<bool> tried_;
  std::optional<size_t> backend_;
  std::unique_ptr<Dialer::Attempt> attempt_;
  std::optional<Forwarder> forwarder_;
};

RelayTotals& RelayTotals::operator+=(const RelayTotals& other) {
  connections += other.connections;
  errors += other.errors;
  backends.resize(other.backends.size());
  for (size_t i = 0; i < backends.size(); ++i) backends[i] += other.backends[i];
  return *this;
}

RelayService::RelayService(const RelayOptions& options)
    : options_(options), backends_(options.backends.size()) {}

RelayService::~RelayService() = default;

void RelayService::OnStart(EventLoop& loop) {
  if (options_.pool_idle > 0) {
    constexpr size_t kMany = 1'000'000;  // the limit is the server's, of clients
    ConnectionPool::Options pool = {.max_open = kMany, .max_idle = kMany, .max_waiting = kMany};
    pool.target = {.max_open = kMany,
                   .max_idle = options_.pool_idle,
                   .min_idle = options_.pool_idle,
                   .max_waiting = kMany};
    pool.dial.timeout = options_.connect_timeout;
    pool_ = *ConnectionPool::Create(loop, std::move(pool));
  }
  for (const RelayOptions::Backend& backend : options_.backends) {
    std::shared_ptr<const Dialer> dialer = backend.dialer;
    if (backend.encryption != nullptr && !options_.header.has_value())
      dialer = backend.encryption->Over(std::move(dialer));
    if (pool_ != nullptr) {
      reserve_.push_back(*pool_->GetTarget(backend.endpoint, dialer));
      dialer = std::make_shared<PooledDialer>(*pool_, std::move(dialer));
    }
    dialers_.push_back(std::move(dialer));
  }
}

void RelayService::Serve(StreamServer::Client client) {
  if (has_ended_) return;
  ++connections_;
  auto session = std::make_unique<Session>(*this, std::move(client));
  Session* const key = session.get();
  sessions_.emplace(key, std::move(session));
  key->Connect();
}

void RelayService::OnEnd() {
  has_ended_ = true;
  sessions_.clear();
  dialers_.clear();
  reserve_.clear();
  pool_.reset();
}

void RelayService::OnSessionEnd(Session& session, bool in_good_order) {
  session.AddBytes([this](size_t backend, uint64_t up, uint64_t down) {
    backends_.AddBytes(backend, up, down);
  });
  if (!in_good_order) ++errors_;
  sessions_.erase(&session);
}

RelayTotals RelayService::totals() const {
  RelayTotals totals = {.connections = connections_, .errors = errors_};
  for (size_t i = 0; i < backends_.size(); ++i) totals.backends.push_back(backends_.counters(i));
  for (const auto& [key, session] : sessions_) {
    session->AddBytes([&](size_t backend, uint64_t up, uint64_t down) {
      totals.backends[backend].bytes_up += up;
      totals.backends[backend].bytes_down += down;
    });
  }
  return totals;
}

}  // namespace sluice::tools
