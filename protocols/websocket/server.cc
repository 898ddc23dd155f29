#include "sluice/protocols/websocket/server.h"

#include <memory>
#include <utility>

#include "sluice/core/stream.h"

namespace sluice::websocket {

Server::Server(Options options)
    : settings_(Role::kServer, options.connection), handshake_(std::move(options.handshake)) {
  handshake_.compression = settings_.options.compression;
}

Connection& Server::Start(std::unique_ptr<Stream> stream, Handler& handler,
                          bool owns_handler) const {
  auto* connection =
      new Connection(std::move(stream), settings_, handler, owns_handler);  // deletes itself
  connection->Shake(std::make_unique<ServerHandshake>(handshake_));
  return *connection;
}

Connection& Server::Serve(std::unique_ptr<Stream> stream, Handler& handler) const {
  return Start(std::move(stream), handler, false);
}

Connection& Server::Serve(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const {
  return Start(std::move(stream), *handler.release(), true);
}

}  // namespace sluice::websocket
