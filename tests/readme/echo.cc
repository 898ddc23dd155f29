#include <iostream>

#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp.h"

class Echo : public sluice::StreamHandler {
  void OnReceive(sluice::Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(sluice::Stream& stream) override { stream.ResumeReceiving(); }
};

int main() {
  Echo echo;
  auto loop = *sluice::EventLoop::Create();
  auto listener =
      sluice::Listener::Listen(*loop, *sluice::SocketAddress::Parse("127.0.0.1:9000"), {},
                               [&](auto stream) { sluice::Stream::Run(std::move(stream), echo); });
  if (!listener.ok()) return std::cerr << listener.status() << "\n", 1;
  loop->Run();
}
