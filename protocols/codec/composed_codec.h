// ComposedCodec puts one codec into another: each message of the outer one is, as bytes, one
// message of the inner one. Framing says where a message ends; what is in it, encrypted,
// compressed, a struct of yours, is the inner codec's. It is itself a codec, so it goes into
// further ones, and CodecStream runs it.
//
// Example: numbers, eight bytes each, in frames.
//
//   struct Number {
//     uint64_t value = 0;
//   };
//   class NumberCodec {  // a payload codec: see codec.h
//    public:
//     using Message = Number;
//     bool DecodePayload(absl::Span<uint8_t> payload, Number& number) {
//       failed_ = failed_ || payload.size() != sizeof(number.value);
//       if (!failed_) std::memcpy(&number.value, payload.data(), sizeof(number.value));
//       return !failed_;
//     }
//     sluice::EncodeResult Encode(Number number, sluice::Buffer& out) const {
//       const auto* const bytes = reinterpret_cast<const uint8_t*>(&number.value);
//       out.Append(absl::MakeConstSpan(bytes, sizeof(number.value)));
//       return sluice::EncodeResult::kEncoded;
//     }
//     absl::Status status() const {
//       return failed_ ? absl::InvalidArgumentError("a number has 8 bytes") : absl::OkStatus();
//     }
//
//    private:
//     bool failed_ = false;
//   };
//   using FramedNumbers = sluice::ComposedCodec<sluice::framing::FrameCodec, NumberCodec>;
//   sluice::CodecStream<FramedNumbers>::Run(std::move(stream), FramedNumbers(), handler);
//   ...
//   stream.Send(Number{7});
//
// Nothing is copied on either way: the inner codec decodes in place what the outer one has found,
// and what it encodes becomes a part of the outer one's frame, where that takes a Buffer
// (FrameCodec does).
//
// Errors. The first of either codec. A message of the outer one that is not exactly one of an inner
// Codec's (it would need more, or leaves some over) is kInvalidArgument.
//
// Limits. max_frame_bytes() is the outer one's. An inner codec whose messages can be larger than
// its bytes (compression) has a limit of its own.
//
// Thread-compatible.
#ifndef SLUICE_PROTOCOLS_CODEC_COMPOSED_CODEC_H_
#define SLUICE_PROTOCOLS_CODEC_COMPOSED_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"

namespace sluice {

namespace internal {
absl::Status NotOneInnerMessage(size_t payload_bytes, size_t taken);
}  // namespace internal

template <ByteCodec Outer, typename Inner>
requires(Codec<Inner> || PayloadCodec<Inner>) class ComposedCodec {
 public:
  using Message = typename Inner::Message;

  ComposedCodec() = default;
  ComposedCodec(Outer outer, Inner inner) : outer_(std::move(outer)), inner_(std::move(inner)) {}

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (failed_) return DecodeResult::Error();
    absl::Span<uint8_t> payload;
    const DecodeResult result = outer_.Decode(in, payload);
    if (result.kind != DecodeResult::Kind::kMessage) return result;
    return DecodeInner(payload, message, result.consumed());
  }

  // Anything that the inner codec's Encode takes. kTooLong also where it makes more of it than the
  // outer codec takes. If the inner codec's Encode is not const, that was the last message: its
  // state has gone on, and the peer's has not, so that later ones are kInvalid.
  template <typename M>
  requires requires(Inner inner, M message, Buffer& out) {
    inner.Encode(static_cast<M&&>(message), out);
  }
  EncodeResult Encode(M&& message, Buffer& out) {
    if (is_out_of_step_) return EncodeResult::kInvalid;
    Buffer payload;
    EncodeResult result = inner_.Encode(std::forward<M>(message), payload);
    if (result != EncodeResult::kEncoded) return result;
    if constexpr (EncoderOf<Outer, Buffer>) {
      result = outer_.Encode(std::move(payload), out);
    } else {
      result = outer_.Encode(payload.Linearize(payload.size()), out);
    }
    constexpr bool kHasState = !requires(const Inner& inner, M again) {
      inner.Encode(static_cast<M&&>(again), out);
    };
    if (kHasState && result != EncodeResult::kEncoded) is_out_of_step_ = true;
    return result;
  }

  absl::Status status() const {
    if (!outer_.status().ok()) return outer_.status();
    if (!inner_.status().ok()) return inner_.status();
    return failed_ ? internal::NotOneInnerMessage(payload_bytes_, taken_) : absl::OkStatus();
  }
  size_t max_frame_bytes() const { return outer_.max_frame_bytes(); }
  void ReleaseMemory() {
    if constexpr (requires { outer_.ReleaseMemory(); }) outer_.ReleaseMemory();
    if constexpr (requires { inner_.ReleaseMemory(); }) inner_.ReleaseMemory();
  }

  Outer& outer() { return outer_; }
  const Outer& outer() const { return outer_; }
  Inner& inner() { return inner_; }
  const Inner& inner() const { return inner_; }

 private:
  // `size` is that of the outer frame.
  DecodeResult DecodeInner(absl::Span<uint8_t> payload, Message& message, size_t size) {
    if constexpr (PayloadCodec<Inner>) {
      if (inner_.DecodePayload(payload, message)) return DecodeResult::Message(size);
    } else {
      const DecodeResult result = inner_.Decode(payload, message);
      const bool whole = result.consumed() == payload.size() && !payload.empty();
      if (result.kind == DecodeResult::Kind::kMessage && whole) return DecodeResult::Message(size);
      if (result.kind == DecodeResult::Kind::kSkipped && whole) return DecodeResult::Skipped(size);
      payload_bytes_ = payload.size();
      taken_ = result.consumed();
    }
    failed_ = true;
    return DecodeResult::Error();
  }

  Outer outer_;
  Inner inner_;
  bool failed_ = false;
  bool is_out_of_step_ = false;  // with the peer: the state of an inner Encode
  // Of the payload that was not one message.
  size_t payload_bytes_ = 0;
  size_t taken_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_CODEC_COMPOSED_CODEC_H_
