#include "sluice/tools/websocket_protocol.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::tools {
namespace {

std::shared_ptr<const websocket::Compression> CompressionOf(bool compress) {
  if (!compress) return nullptr;
  return *websocket::Deflate::Create({});
}

// One handler for all connections of a loop.
class WebSocketEcho final : private websocket::Handler, public EchoService {
 public:
  explicit WebSocketEcho(const ServerOptions& options)
      : server_({.connection = {.max_message_bytes = options.max_message_bytes,
                                .compression = CompressionOf(options.compress)},
                 .handshake = {}}) {}

  void Serve(std::unique_ptr<Stream> stream) override {
    ++totals_.connections;
    server_.Serve(std::move(stream), *this);
  }

 private:
  void OnMessage(websocket::Connection& connection, const websocket::Message& message) override {
    ++totals_.messages;
    totals_.bytes += message.payload.size();
    if (connection.SendInPlace(message) == SendResult::kBlocked) connection.PauseReceiving();
  }
  void OnSendReady(websocket::Connection& connection) override { connection.ResumeReceiving(); }
  void OnClose(websocket::Connection& /*connection*/, const websocket::CloseInfo& info) override {
    if (!info.status.ok()) ++totals_.errors;
  }

  const websocket::Server server_;
};

// After a client's End: how long the server may be silent before its answer to the ping, and how
// long it must be silent after that, within how long at most.
constexpr absl::Duration kEndTimeout = absl::Seconds(5);
constexpr absl::Duration kQuiet = absl::Milliseconds(300);

// OK for a closing handshake that says that all was well.
absl::Status StatusOf(const websocket::CloseInfo& info) {
  if (!info.status.ok() || !info.by_peer || info.code == websocket::CloseCode::kNormal ||
      info.code == websocket::CloseCode::kGoingAway ||
      info.code == websocket::CloseCode::kNoStatus) {
    return info.status;
  }
  return absl::AbortedError(absl::StrCat("the server closed the connection with code ",
                                         static_cast<int>(info.code),
                                         info.reason.empty() ? "" : ": ", info.reason));
}

class WebSocketClient final : public Client, private websocket::Handler {
 public:
  WebSocketClient(const websocket::Client& client, std::unique_ptr<Stream> stream,
                  Client::Handler& handler)
      : handler_(handler),
        end_timer_([this] { connection_.Close(); }),
        connection_(client.Open(std::move(stream), *this)) {}

  bool is_open() const override { return connection_.open(); }
  bool compresses() const override { return connection_.compresses(); }
  SendResult Send(Kind kind, absl::Span<const uint8_t> message) override {
    if (kind == Kind::kBinary) return connection_.SendBinary(message);
    return connection_.SendText({reinterpret_cast<const char*>(message.data()), message.size()});
  }
  // A close frame ends both directions at once. So a ping goes first: many servers answer it when
  // they have answered what came before. Others answer pings at once and messages when they get to
  // them: so it waits until nothing has come for a moment, too.
  void End() override {
    if (std::exchange(has_ended_, true)) return;
    if (connection_.SendPing() == SendResult::kRefused) return connection_.Close();
    ArmEndTimer();
  }
  void Close() override { connection_.Close(); }
  // Silence that is our own doing does not count.
  void PauseReceiving() override {
    connection_.PauseReceiving();
    is_paused_ = true;
    end_timer_.Cancel();
  }
  void ResumeReceiving() override {
    connection_.ResumeReceiving();
    if (!std::exchange(is_paused_, false) || !has_ended_) return;
    close_at_ = now() + kEndTimeout;
    ArmEndTimer();
  }
  void Abort(absl::Status status) override { connection_.Abort(std::move(status)); }

 private:
  void OnOpen(websocket::Connection& /*connection*/) override { handler_.OnOpen(*this); }
  void OnMessage(websocket::Connection& /*connection*/,
                 const websocket::Message& message) override {
    if (has_ended_) ArmEndTimer();
    handler_.OnMessage(*this, message.payload);
  }
  void OnPong(websocket::Connection& /*connection*/,
              absl::Span<const uint8_t> /*payload*/) override {
    if (!has_ended_) return;
    is_answered_ = true;
    close_at_ = now() + kEndTimeout;
    ArmEndTimer();
  }
  void OnSendReady(websocket::Connection& /*connection*/) override { handler_.OnSendReady(*this); }
  void OnClose(websocket::Connection& /*connection*/, const websocket::CloseInfo& info) override {
    end_timer_.Cancel();
    handler_.OnClose(*this, StatusOf(info));
  }

  MonotonicTime now() const { return connection_.stream().loop().now(); }
  void ArmEndTimer() {
    if (is_paused_) return;
    const MonotonicTime at =
        is_answered_ ? std::min(now() + kQuiet, close_at_) : now() + kEndTimeout;
    connection_.stream().loop().ArmTimer(end_timer_, at);
  }

  Client::Handler& handler_;
  bool has_ended_ = false;
  bool is_answered_ = false;  // the ping of End
  bool is_paused_ = false;
  MonotonicTime close_at_;
  Timer end_timer_;
  websocket::Connection& connection_;  // its own; until OnClose
};

class WebSocketClientFactory final : public ClientFactory {
 public:
  explicit WebSocketClientFactory(std::unique_ptr<websocket::Client> client)
      : client_(std::move(client)) {}

  std::unique_ptr<Client> NewClient(std::unique_ptr<Stream> stream,
                                    Client::Handler& handler) override {
    return std::make_unique<WebSocketClient>(*client_, std::move(stream), handler);
  }

 private:
  const std::unique_ptr<websocket::Client> client_;
};

class WebSocket final : public Protocol {
 public:
  WebSocket()
      : Protocol({.name = "websocket",
                  .scheme = {.name = "ws", .default_port = 80, .has_target = true},
                  .summary = "WebSocket (RFC 6455)",
                  .message = "text (UTF-8), or any bytes",
                  .limits = "a message of at most --max_message_bytes"}) {}

  std::string alpn() const override { return "http/1.1"; }
  uint16_t encrypted_default_port() const override { return 443; }
  bool can_compress() const override { return true; }

  absl::StatusOr<std::unique_ptr<EchoService>> NewEchoService(
      const ServerOptions& options) const override {
    return std::make_unique<WebSocketEcho>(options);
  }
  absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& options) const override {
    websocket::Client::Options client_options;
    client_options.connection.max_message_bytes = options.max_message_bytes;
    client_options.connection.handshake_timeout = options.handshake_timeout;
    client_options.connection.compression = CompressionOf(options.compress);
    client_options.handshake.host = options.url.authority;
    client_options.handshake.target = options.url.target;
    absl::StatusOr<std::unique_ptr<websocket::Client>> client =
        websocket::Client::Create(std::move(client_options));
    if (!client.ok()) return client.status();
    return std::make_unique<WebSocketClientFactory>(*std::move(client));
  }
};

}  // namespace

std::unique_ptr<Protocol> WebSocketProtocol() { return std::make_unique<WebSocket>(); }

}  // namespace sluice::tools
