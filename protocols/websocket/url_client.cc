#include "sluice/protocols/websocket/url_client.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/url.h"

namespace sluice::websocket {

// Whom all connections are made to, and how. Lives until the last attempt's connection has gone.
struct UrlClient::Target {
  EventLoop& loop;
  const Endpoint endpoint;
  const std::shared_ptr<const Dialer> dialer;
  const DialOptions dial;
  const std::unique_ptr<Client> client;
};

// The attempt. Dials, and has then a connection with an OpeningHandler, until that is open.
class UrlClient::Opening final : public UrlClient::Attempt {
 public:
  Opening(std::shared_ptr<const Target> target, Handler& handler,
          std::unique_ptr<Handler> given_handler, FailFunction failed)
      : target_(std::move(target)),
        handler_(handler),
        given_handler_(std::move(given_handler)),
        failed_(std::move(failed)),
        deadline_(target_->loop.NowExact() + target_->dial.timeout),
        timer_([this] { OnDeadline(); }) {}
  ~Opening() override;

  void Dial();

  // Of the OpeningHandler; after either this may be gone.
  void OnOpen(Connection& connection);
  void Fail(const absl::Status& status);

 private:
  void Shake(std::unique_ptr<Stream> stream);
  void OnDeadline();

  const std::shared_ptr<const Target> target_;
  Handler& handler_;
  std::unique_ptr<Handler> given_handler_;
  FailFunction failed_;
  const MonotonicTime deadline_;
  Timer timer_;
  std::unique_ptr<Dialer::Attempt> dialing_;
  OpeningHandler* at_connection_ = nullptr;  // the connection's, while it opens
  Connection* connection_ = nullptr;
};

// The handler of a connection that is not open yet.
class UrlClient::OpeningHandler final : public Handler {
 public:
  OpeningHandler(std::shared_ptr<const Target> target, Opening& opening)
      : target_(std::move(target)), opening_(&opening) {}

  void Forget() { opening_ = nullptr; }

 private:
  void OnOpen(Connection& connection) override { opening_->OnOpen(connection); }
  void OnMessage(Connection&, const Message&) override {}
  void OnClose(Connection&, const CloseInfo& info) override {
    if (opening_ != nullptr) opening_->Fail(info.status);
  }

  const std::shared_ptr<const Target> target_;  // outlives the connection
  Opening* opening_;                            // null once that was given up
};

UrlClient::Opening::~Opening() {
  if (at_connection_ == nullptr) return;
  at_connection_->Forget();
  connection_->Abort(absl::CancelledError("the attempt was given up"));
}

void UrlClient::Opening::Dial() {
  dialing_ = target_->dialer->Dial(target_->loop, target_->endpoint, target_->dial,
                                   [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                                     if (!stream.ok()) return Fail(stream.status());
                                     Shake(*std::move(stream));
                                   });
}

void UrlClient::Opening::Shake(std::unique_ptr<Stream> stream) {
  auto handler = std::make_unique<OpeningHandler>(target_, *this);
  at_connection_ = handler.get();
  connection_ = &target_->client->Open(std::move(stream), std::move(handler));
  target_->loop.ArmTimer(timer_, deadline_);
}

void UrlClient::Opening::OnDeadline() {
  connection_->Abort(absl::DeadlineExceededError(
      absl::StrCat(target_->endpoint.ToString(), ": the opening handshake was not complete within ",
                   absl::FormatDuration(target_->dial.timeout))));
}

void UrlClient::Opening::OnOpen(Connection& connection) {
  timer_.Cancel();
  at_connection_ = nullptr;
  Handler& handler = handler_;
  if (given_handler_ != nullptr) {
    connection.SetHandler(std::move(given_handler_));
  } else {
    connection.SetHandler(handler);
  }
  handler.OnOpen(connection);
}

void UrlClient::Opening::Fail(const absl::Status& status) {
  timer_.Cancel();
  at_connection_ = nullptr;
  const std::unique_ptr<Handler> given = std::move(given_handler_);  // goes last
  FailFunction failed = std::move(failed_);
  failed(status);
}

absl::StatusOr<std::unique_ptr<UrlClient>> UrlClient::Create(EventLoop& loop, absl::string_view url,
                                                             const Options& options) {
  const absl::StatusOr<Url> parsed = ParseUrl(url);
  if (!parsed.ok()) return parsed.status();
  if (parsed->secure && options.secure_dialer == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("wss://", parsed->host,
                     ": a wss: URL needs a secure_dialer, such as a tls::Dialer of //tls:dialer"));
  }
  Client::Options client_options = options.client;
  client_options.handshake.target = parsed->target;
  if (client_options.handshake.host.empty()) client_options.handshake.host = HostHeader(*parsed);
  client_options.connection.handshake_timeout = absl::InfiniteDuration();
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(std::move(client_options));
  if (!client.ok()) return client.status();
  std::shared_ptr<const Dialer> dialer = parsed->secure ? options.secure_dialer : options.dialer;
  if (dialer == nullptr) dialer = std::make_shared<DirectDialer>();
  return std::unique_ptr<UrlClient>(new UrlClient(std::shared_ptr<const Target>(
      new Target{loop, Endpoint{parsed->host, parsed->port}, std::move(dialer), options.dial,
                 *std::move(client)})));
}

UrlClient::~UrlClient() = default;

std::unique_ptr<UrlClient::Attempt> UrlClient::Connect(Handler& handler,
                                                       FailFunction failed) const {
  auto attempt = std::make_unique<Opening>(target_, handler, nullptr, std::move(failed));
  attempt->Dial();
  return attempt;
}

std::unique_ptr<UrlClient::Attempt> UrlClient::Connect(std::unique_ptr<Handler> handler,
                                                       FailFunction failed) const {
  Handler& borrowed = *handler;
  auto attempt =
      std::make_unique<Opening>(target_, borrowed, std::move(handler), std::move(failed));
  attempt->Dial();
  return attempt;
}

}  // namespace sluice::websocket
