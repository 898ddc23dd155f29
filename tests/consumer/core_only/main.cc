// server ADDRESS:PORT
#include <csignal>
#include <iostream>

#include "chat_server.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/signals.h"
#include "sluice/core/socket_address.h"

int main(int argc, char** argv) {
  const auto address = sluice::SocketAddress::Parse(argc == 2 ? argv[1] : "127.0.0.1:9000");
  if (!address.ok()) return std::cerr << address.status() << "\n", 2;
  const auto loop = *sluice::EventLoop::Create();
  const auto server = chat::ChatServer::Listen(*loop, *address);
  if (!server.ok()) return std::cerr << server.status() << "\n", 1;
  std::cout << "listening on " << (*server)->address().ToString() << std::endl;
  const sluice::SignalWatcher signals(*loop, {SIGTERM, SIGINT}, [&](int) { loop->Stop(); });
  loop->Run();
}
