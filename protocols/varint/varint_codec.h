// VarintCodec frames messages as protobuf's delimited streams do: the number of bytes as a varint,
// and the bytes. That is what SerializeDelimitedToZeroCopyStream and ParseDelimitedFrom... of C++
// speak, writeDelimitedTo and parseDelimitedFrom of Java, protodelim of Go. It knows nothing of
// protobuf but the varint: a message is any bytes. It is a codec (protocols/codec/codec.h): no I/O.
// varint_stream.h joins it with a Stream.
//
// Example:
//   sluice::varint::VarintCodec codec;
//   sluice::Buffer out;
//   codec.Encode("hello", out);                  // 05 h e l l o
//   absl::Span<uint8_t> message;
//   codec.Decode(in, message);                   // message is "hello", a part of `in`
//
// A varint has seven bits of the number in each byte, the lowest first; all bytes but the last have
// the high bit set:
//
//   length      bytes
//   0           00
//   127         7F
//   128         80 01
//   300         AC 02
//   16384       80 80 01
//
// Encode writes the shortest one. Decode takes what protobuf's readers take: also longer ones,
// which end in bytes of zero (85 80 00 is 5), up to ten bytes. In one point it is stricter: of a
// length that needs more than 32 bits those drop the upper ones, and go on in the wrong place; here
// it is over the limit. (FrameCodec of protocols/framing with a varint refuses longer ones than
// need be.)
//
// Limits: a length over max_message_bytes is an error as soon as its varint is there. protobuf
// itself goes up to 2^31 - 1. Errors (VarintError) are sticky; status() names what was found.
//
// Thread-compatible. 16 bytes, trivially copyable, owns nothing.
#ifndef SLUICE_PROTOCOLS_VARINT_VARINT_CODEC_H_
#define SLUICE_PROTOCOLS_VARINT_VARINT_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/codec/codec.h"

namespace sluice::varint {

// What can be wrong with received bytes.
enum class VarintError : uint8_t {
  kNone,
  kTooLong,    // The length is over max_message_bytes.
  kNotVarint,  // The length has more than ten bytes, or more than 64 bits.
};

class VarintCodec {
 public:
  using Message = absl::Span<uint8_t>;
  static constexpr bool kFrameIsReusable = true;

  explicit VarintCodec(uint32_t max_message_bytes = 1024 * 1024)
      : max_message_bytes_(max_message_bytes) {}

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (ABSL_PREDICT_FALSE(in.size() < 2 || error_ != VarintError::kNone)) {
      return DecodeGeneral(in, message);
    }
    if (in[0] < 0x80) return DecodeMessage(in, 1, in[0], message);
    if (ABSL_PREDICT_TRUE(in[1] < 0x80)) {
      return DecodeMessage(in, 2, (in[0] & 0x7fu) | uint32_t{in[1]} << 7, message);
    }
    return DecodeGeneral(in, message);
  }

  // Appends the message's frame to `out`: a Buffer, or what has its Append functions. The first two
  // copy the message, the others share it. Not hindered by an error of Decode.
  template <typename Sink>
  EncodeResult Encode(absl::Span<const uint8_t> message, Sink& out) const;
  template <typename Sink>
  EncodeResult Encode(absl::string_view message, Sink& out) const;
  template <typename Sink>
  EncodeResult Encode(Slice message, Sink& out) const {
    return EncodeAny(std::move(message), out);
  }
  template <typename Sink>
  EncodeResult Encode(Buffer message, Sink& out) const {
    return EncodeAny(std::move(message), out);
  }

  // What was wrong with the bytes: OK, kResourceExhausted for kTooLong, kInvalidArgument for
  // kNotVarint.
  absl::Status status() const;
  VarintError error() const { return error_; }

  // A frame is never longer: the message and the longest varint.
  size_t max_frame_bytes() const { return kMaxDecodedVarintBytes + max_message_bytes_; }
  size_t max_message_bytes() const { return max_message_bytes_; }

 private:
  static constexpr size_t kMaxDecodedVarintBytes = 10;
  static constexpr size_t kMaxEncodedVarintBytes = 5;  // of 32 bits

  struct Head {
    uint8_t bytes[kMaxEncodedVarintBytes];
    uint8_t size;
    absl::Span<const uint8_t> span() const { return absl::MakeConstSpan(bytes, size); }
  };

  static Head MakeHead(uint32_t message_bytes) {
    Head head;
    head.size = 0;
    for (; message_bytes >= 0x80; message_bytes >>= 7) {
      head.bytes[head.size++] = static_cast<uint8_t>(message_bytes | 0x80);
    }
    head.bytes[head.size++] = static_cast<uint8_t>(message_bytes);
    return head;
  }
  template <typename Bytes, typename Sink>
  EncodeResult EncodeAny(Bytes message, Sink& out) const;

  DecodeResult DecodeMessage(absl::Span<uint8_t> in, size_t head_bytes, uint64_t message_bytes,
                             Message& message) {
    if (ABSL_PREDICT_FALSE(message_bytes > max_message_bytes_)) {
      return Fail(VarintError::kTooLong, message_bytes);
    }
    const size_t size = head_bytes + message_bytes;
    if (ABSL_PREDICT_FALSE(in.size() < size)) return DecodeResult::NeedMore(size);
    message = in.subspan(head_bytes, message_bytes);
    return DecodeResult::Message(size);
  }
  DecodeResult DecodeGeneral(absl::Span<uint8_t> in, Message& message);
  DecodeResult Fail(VarintError error, uint64_t message_bytes);

  uint64_t failed_message_bytes_ = 0;  // of kTooLong
  uint32_t max_message_bytes_;
  VarintError error_ = VarintError::kNone;
};

template <typename Bytes, typename Sink>
EncodeResult VarintCodec::EncodeAny(Bytes message, Sink& out) const {
  if (ABSL_PREDICT_FALSE(message.size() > max_message_bytes_)) return EncodeResult::kTooLong;
  out.Append(MakeHead(static_cast<uint32_t>(message.size())).span());
  out.Append(std::move(message));
  return EncodeResult::kEncoded;
}

template <typename Sink>
EncodeResult VarintCodec::Encode(absl::Span<const uint8_t> message, Sink& out) const {
  // One piece of memory for a first frame, and not one for its length and a larger one for all.
  if constexpr (requires { out.Reserve(message.size()); }) {
    if (out.empty() && message.size() <= max_message_bytes_) {
      (void)out.Reserve(message.size() + kMaxEncodedVarintBytes);
    }
  }
  return EncodeAny(message, out);
}

template <typename Sink>
EncodeResult VarintCodec::Encode(absl::string_view message, Sink& out) const {
  return Encode(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(message.data()), message.size()), out);
}

}  // namespace sluice::varint

#endif  // SLUICE_PROTOCOLS_VARINT_VARINT_CODEC_H_
