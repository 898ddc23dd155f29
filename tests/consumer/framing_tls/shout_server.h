// Answers each frame with the same text in capital letters, over TLS.
#ifndef SHOUT_SHOUT_SERVER_H_
#define SHOUT_SHOUT_SERVER_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/protocols/framing/frame_stream.h"
#include "sluice/tls/context.h"
#include "sluice/tls/tls_stream.h"

namespace shout {

// To be destroyed after its loops, whose connections refer to it.
class ShoutServer final : private sluice::framing::FrameHandler {
 public:
  explicit ShoutServer(std::shared_ptr<const sluice::tls::ServerContext> context)
      : context_(std::move(context)) {}

  // A listener whose connections this serves; to be destroyed before the loop.
  absl::StatusOr<std::unique_ptr<sluice::Listener>> Listen(sluice::EventLoop& loop,
                                                           const sluice::SocketAddress& address);

 private:
  void Serve(std::unique_ptr<sluice::Stream> stream);
  void OnMessage(sluice::framing::FrameStream& stream, absl::Span<uint8_t> text) override;
  void OnSendReady(sluice::framing::FrameStream& stream) override { stream.ResumeReceiving(); }

  const std::shared_ptr<const sluice::tls::ServerContext> context_;
};

}  // namespace shout

#endif  // SHOUT_SHOUT_SERVER_H_
