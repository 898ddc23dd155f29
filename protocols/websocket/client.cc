#include "sluice/protocols/websocket/client.h"

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "sluice/core/stream.h"

namespace sluice::websocket {

Client::Client(Options options)
    : settings_(Role::kClient, options.connection), handshake_(std::move(options.handshake)) {
  handshake_.compression = settings_.options.compression;
}

absl::StatusOr<std::unique_ptr<Client>> Client::Create(Options options) {
  const absl::StatusOr<ClientHandshake> trial = ClientHandshake::Create(options.handshake);
  if (!trial.ok()) return trial.status();
  return std::unique_ptr<Client>(new Client(std::move(options)));
}

Connection& Client::Start(std::unique_ptr<Stream> stream, Handler& handler,
                          bool owns_handler) const {
  auto* connection =
      new Connection(std::move(stream), settings_, handler, owns_handler);  // deletes itself
  // Create has seen that these options make a request.
  connection->Shake(std::make_unique<ClientHandshake>(*ClientHandshake::Create(handshake_)));
  return *connection;
}

Connection& Client::Open(std::unique_ptr<Stream> stream, Handler& handler) const {
  return Start(std::move(stream), handler, false);
}

Connection& Client::Open(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const {
  return Start(std::move(stream), *handler.release(), true);
}

}  // namespace sluice::websocket
