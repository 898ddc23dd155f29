// PassiveStream is what Streams have in common of which a test or a benchmark is the other side: it
// has no transport, never blocks and never ends, and does nothing of its own. What is left to a
// class on top of it is what becomes of what is sent. Unlike a StreamPair it takes no part in the
// loop's turns, so that what is called and allocated is the doing of what runs over it alone.
//
// Loop-bound.
#ifndef SLUICE_CORE_PASSIVE_STREAM_H_
#define SLUICE_CORE_PASSIVE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/file_queue.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"

namespace sluice {

class PassiveStream : public Stream {
 public:
  explicit PassiveStream(EventLoop& loop) : loop_(loop) {}

  EventLoop& loop() const override { return loop_; }
  using Stream::Send;
  SendResult SendControl(absl::Span<const uint8_t> bytes) override { return Send(bytes); }
  // As Send, of the file's bytes.
  absl::StatusOr<SendResult> SendFile(int fd, uint64_t offset, uint64_t length) override {
    absl::StatusOr<internal::FileRange> file = internal::FileRange::Of(fd, offset, length);
    if (!file.ok()) return file.status();
    SendResult result = SendResult::kSent;
    while (file->left() != 0 && result != SendResult::kRefused) {
      Buffer piece;
      if (!file->ReadTo(piece, 64 * 1024)) return file->Failure("passive stream");
      result = Send(std::move(piece));
    }
    return result;
  }
  void RequestFlush() override {}
  size_t queued_bytes() const override { return 0; }
  void PauseReceiving() override {}
  void ResumeReceiving() override {}
  bool receiving_paused() const override { return false; }
  void ReceiveInto(absl::Span<uint8_t>) override {}
  void ShutdownSend() override {}
  void Close() override {}
  void Abort(absl::Status) override {}
  bool closing() const override { return false; }
  void SetIdleTimeout(absl::Duration) override {}
  void SetLingerTimeout(absl::Duration) override {}
  absl::Duration linger_timeout() const override { return absl::ZeroDuration(); }
  void SetLimits(const StreamLimits&) override {}
  StreamLimits limits() const override { return {}; }
  SocketAddress peer_address() const override { return {}; }
  SocketAddress local_address() const override { return {}; }

 private:
  void OnHandlerSet() override {}

  EventLoop& loop_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_PASSIVE_STREAM_H_
