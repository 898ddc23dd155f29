// server ADDRESS:PORT
#include <csignal>
#include <iostream>
#include <memory>
#include <utility>

#include "sluice/core/event_loop.h"
#include "sluice/core/signals.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/topics.h"
#include "ticker.h"

int main(int argc, char** argv) {
  const auto address = sluice::SocketAddress::Parse(argc == 2 ? argv[1] : "127.0.0.1:9000");
  if (!address.ok()) return std::cerr << address.status() << "\n", 2;
  sluice::websocket::Topics topics({});
  ticker::Ticker ticker(topics);
  const auto loop = *sluice::EventLoop::Create();
  const auto listener = sluice::Listener::Listen(
      *loop, *address, {},
      [&](std::unique_ptr<sluice::Stream> stream) { ticker.Serve(std::move(stream)); });
  if (!listener.ok()) return std::cerr << listener.status() << "\n", 1;
  std::cout << "listening on " << (*listener)->address().ToString() << std::endl;
  const sluice::SignalWatcher signals(*loop, {SIGTERM, SIGINT}, [&](int) { loop->Stop(); });
  loop->Run();
}
