// CodecStream joins a codec with a Stream: bytes that arrive become messages of a CodecHandler,
// messages become bytes that are sent. It runs over any Stream: TCP, TLS, a test's StreamPair.
//
// Example: a server that sends each message back, with the codec of the example in codec.h. The
// handler has no state, so one serves all connections.
//
//   class Echo : public sluice::CodecHandler<ShortTextCodec> {
//     using TextStream = sluice::CodecStream<ShortTextCodec>;
//     void OnMessage(TextStream& stream, absl::Span<uint8_t> text) override {
//       if (stream.Send(text) == sluice::SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(TextStream& stream) override { stream.ResumeReceiving(); }
//   };
//   Echo echo;  // outlives the loop
//   auto on_accept = [&](std::unique_ptr<sluice::Stream> stream) {
//     sluice::CodecStream<ShortTextCodec>::Run(std::move(stream), ShortTextCodec(), echo);
//   };
//
// Loop-bound, as its Stream is. As with a Stream, no call runs a callback inside itself, and a
// callback may call anything, and may destroy the CodecStream (unless Run gave it away).
//
// Messages are decoded where they lie in the bytes that the Stream lends; nothing is copied. Only
// an incomplete one is kept until the rest of it arrives, in memory that exists only that long. A
// message that announces its size gets that much at once if it is up to kAnnouncedAtOnce; beyond
// that, the memory grows with what arrives, to four times of it. A long rest is received
// straight into its place. What is kept is never more than the codec's max_frame_bytes(), and,
// while receiving is paused, at most as much as the Stream lent at once.
//
// Without anything kept, a CodecStream is 48 bytes and its codec.
//
// Errors. When the codec answers with an error, or takes what it may not, OnError is told; nothing
// is decoded any more. A peer that ends in the middle of a message makes the status of OnClose
// kDataLoss.
#ifndef SLUICE_PROTOCOLS_CODEC_CODEC_STREAM_H_
#define SLUICE_PROTOCOLS_CODEC_CODEC_STREAM_H_

#include <concepts>
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
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/internal/codec_stream_base.h"
#include "sluice/protocols/codec/prepared_message.h"

namespace sluice {

template <Codec C>
class CodecStream;

// What the user of a CodecStream implements. The events mean what they mean in StreamHandler.
template <Codec C>
class CodecHandler {
 public:
  virtual ~CodecHandler() = default;

  // A message has arrived. What it refers to is lent, and may be changed, until the callback
  // returns, also when that destroys the stream; what the codec has in memory of its own ends with
  // the stream.
  virtual void OnMessage(CodecStream<C>& stream, typename C::Message message) = 0;

  // The peer has sent all it will. The default closes gracefully.
  virtual void OnReceiveEnd(CodecStream<C>& stream) { stream.Close(); }

  // After a Send that answered kBlocked: go on.
  virtual void OnSendReady(CodecStream<C>& /*stream*/) {}

  // The loop is draining. The default closes gracefully.
  virtual void OnDrain(CodecStream<C>& stream) { stream.Close(); }

  // What the peer sent cannot be decoded, and no message follows. The default aborts the stream. A
  // protocol with an error message sends it here and calls Close; what still arrives is discarded.
  // OnClose gets the same status.
  virtual void OnError(CodecStream<C>& stream, const absl::Status& status) { stream.Abort(status); }

  // The last callback. OK after a graceful end by either side.
  virtual void OnClose(CodecStream<C>& /*stream*/, const absl::Status& /*status*/) {}
};

template <Codec C>
class CodecStream final : public internal::CodecStreamBase {
 public:
  // Owns the transport, and receives from now on. The handler is to outlive this.
  CodecStream(std::unique_ptr<Stream> transport, C codec, CodecHandler<C>& handler)
      : CodecStream(*transport, std::move(codec), &handler) {
    Own(std::move(transport));
  }
  ~CodecStream() override {
    if (owns_handler()) delete handler_;
  }

  // The same for a transport that is given to its loop: transport, CodecStream and the handler,
  // where it is given too, live until OnClose has returned. So does the reference.
  static CodecStream& Run(std::unique_ptr<Stream> transport, C codec, CodecHandler<C>& handler) {
    CodecStream* stream = new CodecStream(*transport, std::move(codec), &handler);
    stream->GiveToLoop(std::move(transport));
    return *stream;
  }
  static CodecStream& Run(std::unique_ptr<Stream> transport, C codec,
                          std::unique_ptr<CodecHandler<C>> handler) {
    CodecStream* stream = new CodecStream(*transport, std::move(codec), handler.release());
    stream->set_owns_handler();
    stream->GiveToLoop(std::move(transport));
    return *stream;
  }

  // Sends a message: anything that the codec's Encode takes. kRefused also for one that cannot be
  // encoded, with which the stream lives on; the codec's Encode says why.
  template <typename M>
  requires EncoderOf<C, M> SendResult Send(M&& message) {
    internal::MessageSink sink;
    EncodeResult result;
    if constexpr (requires { codec_.Encode(std::forward<M>(message), sink); }) {
      result = codec_.Encode(std::forward<M>(message), sink);
    } else {
      result = codec_.Encode(std::forward<M>(message), sink.buffer());
    }
    return result == EncodeResult::kEncoded ? SendEncoded(sink) : SendResult::kRefused;
  }

  // Sends a message that was encoded before, for many streams: without a copy.
  SendResult Send(const PreparedMessage<C>& message) {
    if (message.result() != EncodeResult::kEncoded) return SendResult::kRefused;
    return SendShared(message.frame());
  }

  // Sends the message of the current OnMessage back, whose bytes may have been changed: its frame
  // leaves as it lies there, without being encoded or copied. Any other message, a part of that one
  // for instance, is sent as with Send.
  template <HasReusableFrames R = C>
  SendResult SendInPlace(typename R::Message message) {
    if (ABSL_PREDICT_TRUE(IsCurrent(message))) return SendCurrentFrame();
    return Send(message);
  }

  C& codec() { return codec_; }
  const C& codec() const { return codec_; }

 private:
  CodecStream(Stream& transport, C codec, CodecHandler<C>* handler)
      : CodecStreamBase(transport), handler_(handler), codec_(std::move(codec)) {}

  Progress DecodeAndDeliver(absl::Span<uint8_t> in, Dispatch& dispatch) override {
    size_t done = 0;
    while (done < in.size()) {
      typename C::Message message{};
      const absl::Span<uint8_t> rest(in.data() + done, in.size() - done);
      const DecodeResult result = codec_.Decode(rest, message);
      switch (result.kind) {
        case DecodeResult::Kind::kMessage:
        case DecodeResult::Kind::kSkipped:
          if (ABSL_PREDICT_FALSE(result.bytes - 1 >= rest.size()))
            return {done, 0, Progress::kMisbehaved};
          done += result.bytes;
          if (result.kind == DecodeResult::Kind::kSkipped) break;
          if constexpr (HasReusableFrames<C>)
            dispatch.SetCurrent(rest.first(result.bytes), message);
          handler_->OnMessage(*this, std::move(message));
          if constexpr (requires { codec_.ReleaseMemory(); }) {
            if (!dispatch.destroyed()) codec_.ReleaseMemory();
          }
          if (ABSL_PREDICT_FALSE(dispatch.stopped())) return {done, 0, Progress::kStopped};
          break;
        case DecodeResult::Kind::kNeedMore:
          return {done, result.bytes, Progress::kNeedMore};
        case DecodeResult::Kind::kError:
          return {done, 0, Progress::kError};
      }
    }
    return {done, 0, Progress::kNeedMore};
  }
  size_t MaxFrameBytes() const override { return codec_.max_frame_bytes(); }
  absl::Status CodecStatus() const override { return codec_.status(); }
  void DeliverReceiveEnd() override { handler_->OnReceiveEnd(*this); }
  void DeliverSendReady() override { handler_->OnSendReady(*this); }
  void DeliverDrain() override { handler_->OnDrain(*this); }
  void DeliverError(const absl::Status& status) override { handler_->OnError(*this, status); }
  void DeliverClose(const absl::Status& status) override { handler_->OnClose(*this, status); }

  CodecHandler<C>* const handler_;
  C codec_;
};

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_CODEC_CODEC_STREAM_H_
