#include <iostream>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/server.h"

namespace websocket = sluice::websocket;

class Clock : public websocket::Handler {
  void OnRequest(websocket::Connection&, const websocket::HandshakeRequest& request,
                 websocket::HandshakeReply& reply) override {
    if (request.path() != "/time") reply.Respond(404, "only /time is here");
  }
  void OnMessage(websocket::Connection& connection, const websocket::Message&) override {
    connection.SendText(absl::FormatTime(absl::Now()));
  }
  void OnClose(websocket::Connection&, const websocket::CloseInfo& info) override {
    if (!info.clean) std::cerr << info.status << "\n";
  }
};

int main() {
  Clock clock;
  websocket::Server::Options options;
  options.connection.max_message_bytes = 4096;
  options.connection.ping_interval = absl::Seconds(30);
  options.connection.compression = *websocket::Deflate::Create({});
  options.handshake.allowed_origins = {"https://example.com"};
  websocket::Server server(options);
  auto loop = *sluice::EventLoop::Create();
  auto listener =
      sluice::Listener::Listen(*loop, *sluice::SocketAddress::Parse("127.0.0.1:9001"), {},
                               [&](auto stream) { server.Serve(std::move(stream), clock); });
  if (!listener.ok()) return std::cerr << listener.status() << "\n", 1;
  loop->Run();
}
