// Server makes WebSocket connections of the streams that a listener accepts; all have its options.
// connection.h has an example.
//
// Loop-bound: one for each loop. It must outlive its connections.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_SERVER_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_SERVER_H_

#include <memory>

#include "sluice/core/stream.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/connection_options.h"
#include "sluice/protocols/websocket/counters.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/handshake.h"

namespace sluice::websocket {

class Server {
 public:
  struct Options {
    ConnectionOptions connection = {};
    ServerHandshake::Options handshake = {};
  };

  explicit Server(Options options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Waits for the client's handshake and answers it. The handler is borrowed, or given and then
  // destroyed after OnClose.
  Connection& Serve(std::unique_ptr<Stream> stream, Handler& handler) const;
  Connection& Serve(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const;

  // Of its connections.
  const Counters& counters() const { return settings_.counters; }

 private:
  Connection& Start(std::unique_ptr<Stream> stream, Handler& handler, bool owns_handler) const;

  Connection::Settings settings_;
  ServerHandshake::Options handshake_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_SERVER_H_
