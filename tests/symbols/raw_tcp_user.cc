// What a user writes who wants TCP and nothing else: an echo server. symbols_test looks at what it
// links.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"

namespace {

class Echo : public sluice::StreamHandler {
  void OnReceive(sluice::Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(sluice::Stream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

int main(int argc, char** argv) {
  auto address = sluice::SocketAddress::Parse(argc == 2 ? argv[1] : "127.0.0.1:0");
  auto loop = sluice::EventLoop::Create();
  if (!address.ok() || !loop.ok()) return 2;
  Echo echo;
  auto listener =
      sluice::Listener::Listen(**loop, *address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
        sluice::Stream::Run(std::move(stream), echo);
      });
  if (!listener.ok()) {
    std::fprintf(stderr, "%s\n", listener.status().ToString().c_str());
    return 1;
  }
  std::printf("listening on %s\n", (*listener)->address().ToString().c_str());
  std::fflush(stdout);
  (*loop)->Run();
  return 0;
}
