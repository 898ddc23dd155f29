#include "shout_server.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace shout {

namespace framing = sluice::framing;

absl::StatusOr<std::unique_ptr<sluice::Listener>> ShoutServer::Listen(
    sluice::EventLoop& loop, const sluice::SocketAddress& address) {
  return sluice::Listener::Listen(
      loop, address, {},
      [this](std::unique_ptr<sluice::Stream> stream) { Serve(std::move(stream)); });
}

void ShoutServer::Serve(std::unique_ptr<sluice::Stream> stream) {
  sluice::tls::Accept(std::move(stream), context_, {},
                      [this](absl::StatusOr<std::unique_ptr<sluice::tls::TlsStream>> stream) {
                        if (!stream.ok()) return;
                        framing::FrameStream::Run(*std::move(stream), framing::FrameCodec(), *this);
                      });
}

void ShoutServer::OnMessage(framing::FrameStream& stream, absl::Span<uint8_t> text) {
  for (uint8_t& byte : text) {
    if (byte >= 'a' && byte <= 'z') byte -= 'a' - 'A';
  }
  if (stream.SendInPlace(text) == sluice::SendResult::kBlocked) stream.PauseReceiving();
}

}  // namespace shout
