// UrlClient makes WebSocket connections to a ws: or wss: URL: it connects (core/dialer.h: directly,
// through proxies, with TLS) and carries out the opening handshake, under one deadline.
//
// Example:
//   websocket::UrlClient::Options options;
//   options.client.handshake.subprotocols = {"chat"};
//   auto client = websocket::UrlClient::Create(loop, "ws://127.0.0.1:9000/chat", options);
//   if (!client.ok()) return client.status();
//   auto attempt = (*client)->Connect(handler, [](const absl::Status& why) { Complain(why); });
//
// For wss: URLs, Options::secure_dialer has to be given: tls::Dialer of //tls:dialer, over the
// dialer that makes the connection itself, such as a proxy's.
//
// Exactly one of two things happens: Handler::OnOpen, after which everything is as with any
// Connection, to OnClose; or the failure function is called, and the handler is not. Errors are
// those of the dialer and of ClientHandshake, and kDeadlineExceeded.
//
// Loop-bound. Any number of connections may be made. The client and a borrowed handler must outlive
// those that are open, as with Client; attempts need not be thought of.
#ifndef SLUICE_PROTOCOLS_WEBSOCKET_URL_CLIENT_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_URL_CLIENT_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/handler.h"

namespace sluice::websocket {

class UrlClient {
 public:
  struct Options {
    // The URL gives the handshake's target, and its host where that is empty. The handshake's
    // timeout is not used: see `dial`.
    Client::Options client = {};
    // For ws: URLs; null for a DirectDialer. For wss: URLs.
    std::shared_ptr<const Dialer> dialer = nullptr;
    std::shared_ptr<const Dialer> secure_dialer = nullptr;
    // The timeout is for everything, to the end of the opening handshake.
    DialOptions dial = {};
  };

  // Destroyed before the connection is open, it is given up, and nothing is called.
  using Attempt = Dialer::Attempt;
  // Called by the loop, never from inside Connect. May destroy the attempt.
  using FailFunction = absl::AnyInvocable<void(const absl::Status&)>;

  // kInvalidArgument: a malformed URL (url.h); a wss: URL without a secure_dialer; options that
  // make no handshake.
  static absl::StatusOr<std::unique_ptr<UrlClient>> Create(EventLoop& loop, absl::string_view url,
                                                           const Options& options);
  ~UrlClient();
  UrlClient(const UrlClient&) = delete;
  UrlClient& operator=(const UrlClient&) = delete;

  // The handler is borrowed, or given and then destroyed after OnClose (or after the failure). The
  // attempt must be destroyed before the loop.
  std::unique_ptr<Attempt> Connect(Handler& handler, FailFunction failed) const;
  std::unique_ptr<Attempt> Connect(std::unique_ptr<Handler> handler, FailFunction failed) const;

 private:
  struct Target;
  class Opening;
  class OpeningHandler;

  explicit UrlClient(std::shared_ptr<const Target> target) : target_(std::move(target)) {}

  const std::shared_ptr<const Target> target_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_URL_CLIENT_H_
