// server ADDRESS:PORT CHAIN.pem KEY.pem
#include <csignal>
#include <iostream>

#include "shout_server.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/signals.h"
#include "sluice/core/socket_address.h"
#include "sluice/tls/context.h"

int main(int argc, char** argv) {
  namespace tls = sluice::tls;
  if (argc != 4) return std::cerr << "usage: server ADDRESS:PORT CHAIN.pem KEY.pem\n", 2;
  const auto address = sluice::SocketAddress::Parse(argv[1]);
  if (!address.ok()) return std::cerr << address.status() << "\n", 2;
  const auto identity = tls::Identity::FromFiles(argv[2], argv[3]);
  if (!identity.ok()) return std::cerr << identity.status() << "\n", 2;
  const auto context = tls::ServerContext::Create({.identities = {*identity}});
  if (!context.ok()) return std::cerr << context.status() << "\n", 2;

  shout::ShoutServer server(*context);
  const auto loop = *sluice::EventLoop::Create();
  const auto listener = server.Listen(*loop, *address);
  if (!listener.ok()) return std::cerr << listener.status() << "\n", 1;
  std::cout << "listening on " << (*listener)->address().ToString() << std::endl;
  const sluice::SignalWatcher signals(*loop, {SIGTERM, SIGINT}, [&](int) { loop->Stop(); });
  loop->Run();
}
