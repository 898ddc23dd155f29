// MemoryStream is a transport of which the test or benchmark is the other side: it gives the bytes
// that arrive, when and in whichever pieces it likes, and takes those that were sent.
//
// Example:
//   auto owned = std::make_unique<MemoryStream>(loop.loop());
//   MemoryStream& transport = *owned;
//   Accept(std::move(owned), context, {}, done);
//   transport.Flush();                     // the end of a turn
//   transport.Receive(client_hello);
//   Buffer answer = transport.TakeSent();
//
// Loop-bound.
#ifndef SLUICE_TLS_MEMORY_STREAM_H_
#define SLUICE_TLS_MEMORY_STREAM_H_

#include <cstdint>
#include <utility>

#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/passive_stream.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream.h"

namespace sluice::tls {

class MemoryStream final : public PassiveStream {
 public:
  using PassiveStream::PassiveStream;

  // May destroy this.
  void Receive(absl::Span<uint8_t> bytes) { handler()->OnReceive(*this, bytes); }
  void Flush() {
    if (std::exchange(flush_asked_, false)) handler()->OnFlush(*this);
  }
  Buffer TakeSent() { return std::exchange(sent_, Buffer()); }

  // Stream:
  using Stream::Send;
  SendResult Send(absl::Span<const uint8_t> bytes) override {
    sent_.Append(bytes);
    return SendResult::kSent;
  }
  SendResult Send(Slice slice) override {
    sent_.Append(std::move(slice));
    return SendResult::kSent;
  }
  SendResult Send(Buffer buffer) override {
    sent_.Append(std::move(buffer));
    return SendResult::kSent;
  }
  SendResult SendLent(absl::Span<const uint8_t> bytes) override { return Send(bytes); }
  void RequestFlush() override { flush_asked_ = true; }
  void PauseReceiving() override { paused_ = true; }
  void ResumeReceiving() override { paused_ = false; }
  bool receiving_paused() const override { return paused_; }

 private:
  Buffer sent_;
  bool flush_asked_ = false;
  bool paused_ = false;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_MEMORY_STREAM_H_
