// sluice as a server that sends each WebSocket message to all connections: encoded once, and
// shared by their send queues.
//
//   broadcast      prints `listening on 127.0.0.1:PORT` once it accepts

#include <cstdio>
#include <memory>
#include <unordered_set>
#include <utility>

#include "absl/status/statusor.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/prepared_message.h"
#include "sluice/protocols/websocket/server.h"

namespace {

namespace websocket = sluice::websocket;

class Broadcaster : public websocket::Handler {
  void OnOpen(websocket::Connection& connection) override { all_.insert(&connection); }

  void OnMessage(websocket::Connection&, const websocket::Message& message) override {
    const auto prepared = message.is_text ? websocket::PreparedMessage::Text(message.text())
                                          : websocket::PreparedMessage::Binary(message.payload);
    for (websocket::Connection* connection : all_) connection->Send(prepared);
  }

  void OnClose(websocket::Connection& connection, const websocket::CloseInfo&) override {
    all_.erase(&connection);
  }

  std::unordered_set<websocket::Connection*> all_;
};

}  // namespace

int main() {
  Broadcaster broadcaster;
  websocket::Server server({});
  auto loop = *sluice::EventLoop::Create();
  const auto listener =
      sluice::Listener::Listen(*loop, *sluice::SocketAddress::Parse("127.0.0.1:0"), {},
                               [&](auto stream) { server.Serve(std::move(stream), broadcaster); });
  if (!listener.ok()) {
    std::fprintf(stderr, "broadcast: %s\n", listener.status().ToString().c_str());
    return 1;
  }
  std::printf("listening on %s\n", (*listener)->address().ToString().c_str());
  std::fflush(stdout);
  loop->Run();
  return 0;
}
