// Client makes WebSocket connections over streams that are connected to a server.
//
// Example:
//   auto client = websocket::Client::Create({.handshake = {.host = "example.com"}});
//   if (!client.ok()) return client.status();
//   (*client)->Open(std::move(stream), handler);
//
// Loop-bound. It must outlive its connections.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_CLIENT_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_CLIENT_H_

#include <memory>

#include "absl/status/statusor.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/websocket/client_handshake.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/connection_options.h"
#include "sluice/protocols/websocket/counters.h"
#include "sluice/protocols/websocket/handler.h"

namespace sluice::websocket {

class Client {
 public:
  struct Options {
    ConnectionOptions connection = {};
    ClientHandshake::Options handshake = {};
  };

  // kInvalidArgument: see ClientHandshake::Create.
  static absl::StatusOr<std::unique_ptr<Client>> Create(Options options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends the handshake. The handler is borrowed, or given and then destroyed after OnClose.
  Connection& Open(std::unique_ptr<Stream> stream, Handler& handler) const;
  Connection& Open(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const;

  // Of its connections.
  const Counters& counters() const { return settings_.counters; }

 private:
  Connection& Start(std::unique_ptr<Stream> stream, Handler& handler, bool owns_handler) const;

  explicit Client(Options options);

  Connection::Settings settings_;
  ClientHandshake::Options handshake_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_CLIENT_H_
