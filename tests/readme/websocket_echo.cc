#include <iostream>

#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/server.h"

class Echo : public sluice::websocket::Handler {
  void OnMessage(sluice::websocket::Connection& connection,
                 const sluice::websocket::Message& message) override {
    if (connection.SendInPlace(message) == sluice::SendResult::kBlocked)
      connection.PauseReceiving();
  }
  void OnSendReady(sluice::websocket::Connection& connection) override {
    connection.ResumeReceiving();
  }
};

int main() {
  Echo echo;
  sluice::websocket::Server server({});
  auto loop = *sluice::EventLoop::Create();
  auto listener =
      sluice::Listener::Listen(*loop, *sluice::SocketAddress::Parse("127.0.0.1:9001"), {},
                               [&](auto stream) { server.Serve(std::move(stream), echo); });
  if (!listener.ok()) return std::cerr << listener.status() << "\n", 1;
  loop->Run();
}
