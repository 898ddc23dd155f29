#ifndef SLUICE_PROTOCOLS_CODEC_INTERNAL_CODEC_STREAM_BASE_H_
#define SLUICE_PROTOCOLS_CODEC_INTERNAL_CODEC_STREAM_BASE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/stream.h"

namespace sluice::internal {

// What Encode appends to on the way to a Stream, which is to get each message with one call. A
// short message is put together on the stack, and the Stream copies it to its like; a long one goes
// into a Buffer, which the Stream takes over.
class MessageSink {
 public:
  void Append(absl::Span<const uint8_t> bytes) {
    if (ABSL_PREDICT_FALSE(bytes.size() > kShort - size_)) return AppendLong(bytes);
    if (!bytes.empty()) std::memcpy(short_ + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void Append(absl::string_view text) {
    Append(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  void Append(Slice slice) { buffer().Append(std::move(slice)); }
  void Append(Buffer&& bytes) { buffer().Append(std::move(bytes)); }

  // For an Encode that takes nothing but a Buffer.
  Buffer& buffer();

  SendResult SendOn(Stream& stream);

 private:
  static constexpr size_t kShort =
      2048 + 64;  // 2 KiB and a header; at 4 KiB the ways cost the same

  void AppendLong(absl::Span<const uint8_t> bytes);

  size_t size_ = 0;  // of short_, or kShort when the message is long: then short_ is not in use
  bool long_ = false;
  Buffer buffer_;
  uint8_t short_[kShort];
};

// The part of CodecStream that does not depend on the codec: what is kept of incomplete messages,
// pausing, the end.
class CodecStreamBase : private StreamHandler {
 public:
  CodecStreamBase(const CodecStreamBase&) = delete;
  CodecStreamBase& operator=(const CodecStreamBase&) = delete;

  // For its addresses, limits, timeouts, and its loop. What this class has a function for is to be
  // called here.
  Stream& transport() const { return *transport_; }

  // No message is delivered until resumed. Messages that have already arrived are held back: at
  // most as many bytes as the transport lent at once.
  void PauseReceiving();
  void ResumeReceiving();
  bool receiving_paused() const { return paused_; }

  // As the functions of Stream. After Close and Abort no message is delivered.
  void Close();
  void Abort(absl::Status status);
  void ShutdownSend() { transport_->ShutdownSend(); }
  bool closing() const { return closed_ || transport_->closing(); }
  size_t queued_bytes() const { return transport_->queued_bytes(); }

  // The memory that is in use for what has arrived and was not delivered.
  size_t kept_bytes() const;

  // A message that announces its size gets its memory at once up to this (and an eighth of it).
  static constexpr size_t kAnnouncedAtOnce = 256 * 1024;

 protected:
  // Why decoding has stopped, and where.
  struct Progress {
    enum Outcome : uint8_t {
      kNeedMore,    // `want` bytes, counted from behind the consumed ones
      kStopped,     // by a callback, that paused, closed or destroyed the stream
      kError,       // the codec's
      kMisbehaved,  // the codec took more than there was, or nothing
    };
    size_t consumed;
    size_t want;
    Outcome outcome;
  };

  // One of the transport's callbacks, on the stack while it runs. A stream that is destroyed inside
  // it tells it so.
  class Dispatch {
   public:
    explicit Dispatch(CodecStreamBase& stream) : stream_(&stream) { stream.dispatch_ = this; }
    ~Dispatch() {
      if (stream_ != nullptr) stream_->dispatch_ = nullptr;
    }
    Dispatch(const Dispatch&) = delete;
    Dispatch& operator=(const Dispatch&) = delete;

    // No more messages now.
    bool stopped() const { return stopped_; }
    bool destroyed() const { return stream_ == nullptr; }

    // The message that is about to be delivered, and the bytes that it was decoded from.
    void SetCurrent(absl::Span<const uint8_t> frame, absl::Span<const uint8_t> message) {
      frame_ = frame;
      message_ = message;
    }

   private:
    friend class CodecStreamBase;

    CodecStreamBase* stream_;
    bool stopped_ = false;
    Block* block_ = nullptr;  // that is being decoded; null for bytes that the transport lends
    absl::Span<const uint8_t> frame_;
    absl::Span<const uint8_t> message_;
  };

  explicit CodecStreamBase(Stream& transport) : transport_(&transport) {}
  ~CodecStreamBase() override;

  // Either must be called once; receiving starts.
  void Own(std::unique_ptr<Stream> transport);
  void GiveToLoop(std::unique_ptr<Stream> transport);

  void set_owns_handler() { owns_handler_ = true; }
  bool owns_handler() const { return owns_handler_; }

  SendResult SendEncoded(MessageSink& sink) { return Sent(sink.SendOn(*transport_)); }
  SendResult SendShared(Slice frame) { return Sent(transport_->Send(std::move(frame))); }

  bool IsCurrent(absl::Span<const uint8_t> message) const {
    return dispatch_ != nullptr && dispatch_->message_.data() == message.data() &&
           dispatch_->message_.size() == message.size() && !dispatch_->frame_.empty();
  }
  SendResult SendCurrentFrame() {
    if (ABSL_PREDICT_FALSE(dispatch_->block_ != nullptr)) return SendKeptFrame();
    return Sent(transport_->SendLent(dispatch_->frame_));
  }

 private:
  struct Kept;
  struct Resumption;
  // What was wrong with what the peer sent.
  enum class Fault : uint8_t { kNone, kCodecError, kCodecMisbehaved, kTruncated };

  // What the codec and its handler do, which the template knows.
  virtual Progress DecodeAndDeliver(absl::Span<uint8_t> in, Dispatch& dispatch) = 0;
  virtual size_t MaxFrameBytes() const = 0;
  virtual absl::Status CodecStatus() const = 0;
  virtual void DeliverReceiveEnd() = 0;
  virtual void DeliverSendReady() = 0;
  virtual void DeliverDrain() = 0;
  virtual void DeliverError(const absl::Status& status) = 0;
  virtual void DeliverClose(const absl::Status& status) = 0;

  // StreamHandler:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd(Stream& stream) override;
  void OnSendReady(Stream& stream) override;
  void OnDrain(Stream& stream) override;
  void OnClose(Stream& stream, const absl::Status& status) override;

  // Receiving.
  void FeedKept(absl::Span<uint8_t>& bytes, Dispatch& dispatch);
  size_t TakeIntoKept(absl::Span<uint8_t>& bytes);
  void GiveBack(absl::Span<uint8_t>& bytes, size_t size);
  Progress DecodeKept(Dispatch& dispatch);
  void DeliverHeld(Dispatch& dispatch);
  void AfterDecoding(const Progress& progress, absl::Span<const uint8_t> rest);
  void AfterCallback(Dispatch& dispatch);
  void ResumeLater();
  void Fail(Fault fault);

  // What is kept.
  Kept& kept() const;
  void Keep(absl::Span<const uint8_t> bytes, size_t want);
  void KeepMore(absl::Span<const uint8_t> bytes);
  bool WantIsWithinLimit(size_t want, size_t size) const;
  void FillFromTransport();
  void DropKept();

  void Stop();
  SendResult Sent(SendResult result) {
    if (ABSL_PREDICT_FALSE(result == SendResult::kRefused)) AfterRefusal();
    return result;
  }
  void AfterRefusal();
  SendResult SendKeptFrame();
  absl::Status FaultStatus() const;

  Stream* const transport_;
  Block* kept_ = nullptr;  // starts with a Kept
  Dispatch* dispatch_ = nullptr;
  bool owns_transport_ : 1 = false;
  bool owns_handler_ : 1 = false;
  bool closed_ : 1 = false;
  bool paused_ : 1 = false;            // by the user
  bool transport_paused_ : 1 = false;  // follows paused_ when a callback has returned
  bool held_ : 1 = false;              // what is kept may have messages in it
  Fault fault_ : 2 = Fault::kNone;
};

}  // namespace sluice::internal

#endif  // SLUICE_PROTOCOLS_CODEC_INTERNAL_CODEC_STREAM_BASE_H_
