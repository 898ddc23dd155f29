// FrameCodec splits a flow of bytes into frames by a length that each frame carries near its front,
// and puts that length there when a frame is sent. It is a codec (protocols/codec/codec.h): no I/O.
// frame_stream.h joins it with a Stream.
//
// Example: frames behind four bytes, big endian, which is the default.
//
//   sluice::framing::FrameCodec codec;
//   sluice::Buffer out;
//   codec.Encode("HELLO, WORLD", out);           // 00 00 00 0C H E L L O ...
//   absl::Span<uint8_t> message;
//   codec.Decode(in, message);                   // message is "HELLO, WORLD", a part of `in`
//
//   sluice::framing::FrameOptions options;       // another protocol's frames
//   options.length_bytes = 2;
//   options.byte_order = sluice::framing::ByteOrder::kLittleEndian;
//   absl::StatusOr<FrameCodec> other = FrameCodec::Create(options);
//
// The four numbers length_bytes, length_offset, length_adjustment and bytes_to_strip mean what they
// mean in Netty's LengthFieldBasedFrameDecoder, so that a set-up can be carried over. (One default
// differs: here the length is stripped unless told otherwise, so that a message is the payload.) A
// frame is
//
//     | header: length_offset bytes | length: length_bytes | the rest |
//
// the number in the length field is the size of the rest, less length_adjustment, and a message is
// the frame without its first bytes_to_strip bytes. What that gives, for "HELLO, WORLD" (12 bytes;
// LL is the length, HH other header fields):
//
//   length bytes, offset, adjustment, strip  frame                         message
//   ---------------------------------------  ----------------------------  -------------------
//   2             0       0           0      LL=12 HELLO, WORLD      (14)  the whole frame (14)
//       the length stands in front and is kept
//   2             0       0           2      LL=12 HELLO, WORLD      (14)  HELLO, WORLD (12)
//       the same, stripped
//   2             0       -2          0      LL=14 HELLO, WORLD      (14)  the whole frame (14)
//       the length counts itself
//   3             2       0           0      HHHH LL=12 HELLO, WORLD (17)  the whole frame (17)
//       a header stands before the length
//   3             0       2           0      LL=12 HHHH HELLO, WORLD (17)  the whole frame (17)
//       a header stands behind the length, which does not count it
//   2             1       1           3      HH LL=12 HH HELLO, ...  (16)  HH HELLO, WORLD (13)
//       headers on both sides; the first and the length are stripped
//   2             1       -3          3      HH LL=16 HH HELLO, ...  (16)  HH HELLO, WORLD (13)
//       the same, where the length counts the whole frame
//
// Encode is the inverse, wherever stripping has lost nothing but the length: when bytes_to_strip is
// 0, or when length_offset is 0 and no more than the length field is stripped. Otherwise it answers
// kInvalid, and so it does for a message too short to have the fields that it must have. Where a
// message holds the length field (bytes_to_strip of 0), Encode writes the right number there,
// whatever it held.
//
// A varint is protobuf's: base 128, the lowest seven bits first, at most ten bytes. One that is
// longer than its number needs (a padding byte 00 at its end) is an error, so that a frame has one
// encoding only.
//
// Limits: a message that is longer than max_message_bytes is an error as soon as its length field
// is there. Errors (FrameError) are sticky; status() names the limit and what was found.
//
// Thread-compatible. 32 bytes, trivially copyable, owns nothing.
#ifndef SLUICE_PROTOCOLS_FRAMING_FRAME_CODEC_H_
#define SLUICE_PROTOCOLS_FRAMING_FRAME_CODEC_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"

namespace sluice::framing {

enum class ByteOrder : uint8_t { kBigEndian, kLittleEndian };

struct FrameOptions {
  // For length_bytes.
  static constexpr int kVarint = 0;
  // For bytes_to_strip: everything up to and including the length field, however long that is.
  static constexpr int64_t kThroughLength = -1;

  int length_bytes = 4;                          // 1, 2, 3, 4, 8 or kVarint
  ByteOrder byte_order = ByteOrder::kBigEndian;  // of a length of two bytes or more
  int64_t length_offset = 0;                     // 0 to 65535
  int64_t length_adjustment = 0;                 // -2^31 to 2^31 - 1
  int64_t bytes_to_strip = kThroughLength;       // or 0 to 2^31 - 1
  int64_t max_message_bytes = 1024 * 1024;       // 1 to 2^31 - 1; of what is left after stripping
};

// What can be wrong with received bytes.
enum class FrameError : uint8_t {
  kNone,
  kTooLong,   // The message is longer than max_message_bytes.
  kTooShort,  // The length gives, after adjustment, a frame that ends before its own length field
              // does.
  kStripBeyondFrame,  // The frame is shorter than bytes_to_strip.
  kLengthOverflow,    // The length is 2^63 or more.
  kVarintTooLong,     // A varint has more than ten bytes.
  kVarintPadded,      // A varint has more bytes than its number needs.
};

class FrameCodec {
 public:
  using Message = absl::Span<uint8_t>;
  static constexpr bool kFrameIsReusable = true;

  // Four bytes, big endian, stripped; messages of at most 1 MiB.
  FrameCodec() = default;

  // Errors: kInvalidArgument, which names the option, what it is and what is accepted.
  static absl::StatusOr<FrameCodec> Create(const FrameOptions& options);

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (ABSL_PREDICT_FALSE(!decodes_default_)) return DecodeGeneral(in, message);
    if (ABSL_PREDICT_FALSE(in.size() < 4)) return DecodeResult::NeedMore(4);
    const uint32_t length =
        uint32_t{in[0]} << 24 | uint32_t{in[1]} << 16 | uint32_t{in[2]} << 8 | uint32_t{in[3]};
    if (ABSL_PREDICT_FALSE(length > max_message_bytes_)) {
      return Fail(FrameError::kTooLong, length);
    }
    const size_t size = size_t{4} + length;
    if (ABSL_PREDICT_FALSE(in.size() < size)) return DecodeResult::NeedMore(size);
    message = in.subspan(4, length);
    return DecodeResult::Message(size);
  }

  // Appends the message's frame to `out`: a Buffer, or what has its Append functions. The first two
  // copy the message, the others share it and put the header in front. Not hindered by an error of
  // Decode.
  template <typename Sink>
  EncodeResult Encode(absl::Span<const uint8_t> message, Sink& out) const;
  template <typename Sink>
  EncodeResult Encode(absl::string_view message, Sink& out) const;
  template <typename Sink>
  EncodeResult Encode(Slice message, Sink& out) const;
  template <typename Sink>
  EncodeResult Encode(Buffer message, Sink& out) const;

  // Whether Encode is possible at all with these options.
  bool can_encode() const { return can_encode_; }

  // What was wrong with the bytes: OK, kResourceExhausted for kTooLong, kInvalidArgument for the
  // others.
  absl::Status status() const;
  FrameError error() const { return error_; }

  // A frame is never longer: max_message_bytes and what is stripped. (At least length_offset and 10
  // with a varint, which is only then known to be wrong.)
  size_t max_frame_bytes() const;
  size_t max_message_bytes() const { return max_message_bytes_; }

 private:
  static constexpr size_t kMaxLengthBytes = 10;  // a varint's

  // How a frame is made of a message: the message's first keep_front bytes, the length, the message
  // from resume on.
  struct Layout {
    uint8_t length[kMaxLengthBytes];
    uint8_t length_size;
    size_t keep_front;
    size_t resume;
    absl::Span<const uint8_t> length_field() const {
      return absl::MakeConstSpan(length, length_size);
    }
  };

  // `front` is the start of a message of `size` bytes, at least front_bytes() of it where it has as
  // many.
  EncodeResult MakeLayout(size_t size, absl::Span<const uint8_t> front, Layout& layout) const {
    if (ABSL_PREDICT_FALSE(!encodes_default_)) return MakeGeneralLayout(size, front, layout);
    if (ABSL_PREDICT_FALSE(size > max_message_bytes_)) return EncodeResult::kTooLong;
    layout.length[0] = static_cast<uint8_t>(size >> 24);
    layout.length[1] = static_cast<uint8_t>(size >> 16);
    layout.length[2] = static_cast<uint8_t>(size >> 8);
    layout.length[3] = static_cast<uint8_t>(size);
    layout.length_size = 4;
    layout.keep_front = 0;
    layout.resume = 0;
    return EncodeResult::kEncoded;
  }

  // How much of a message's front MakeLayout may have to see.
  size_t front_bytes() const { return encodes_default_ ? 0 : length_offset_ + kMaxLengthBytes; }

  DecodeResult DecodeGeneral(absl::Span<uint8_t> in, Message& message);
  EncodeResult MakeGeneralLayout(size_t size, absl::Span<const uint8_t> front,
                                 Layout& layout) const;
  DecodeResult Fail(FrameError error, uint64_t found);

  uint64_t found_ = 0;  // what is wrong, for status()
  uint32_t max_message_bytes_ = 1024 * 1024;
  int32_t length_adjustment_ = 0;
  int32_t bytes_to_strip_ = -1;
  uint16_t length_offset_ = 0;
  uint8_t length_bytes_ = 4;
  ByteOrder byte_order_ = ByteOrder::kBigEndian;
  FrameError error_ = FrameError::kNone;
  bool can_encode_ = true;
  bool decodes_default_ =
      true;  // four bytes, big endian, stripped, no offset, no adjustment, no error yet
  bool encodes_default_ = true;  // the same but for the error
};

template <typename Sink>
EncodeResult FrameCodec::Encode(absl::Span<const uint8_t> message, Sink& out) const {
  Layout layout;
  const EncodeResult result = MakeLayout(message.size(), message, layout);
  if (ABSL_PREDICT_FALSE(result != EncodeResult::kEncoded)) return result;
  // One piece of memory for a first frame, and not one for its length and a larger one for all.
  if constexpr (requires { out.Reserve(message.size()); }) {
    if (out.empty()) (void)out.Reserve(message.size() + kMaxLengthBytes);
  }
  if (layout.keep_front != 0) out.Append(message.first(layout.keep_front));
  out.Append(layout.length_field());
  out.Append(message.subspan(layout.resume));
  return result;
}

template <typename Sink>
EncodeResult FrameCodec::Encode(absl::string_view message, Sink& out) const {
  return Encode(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(message.data()), message.size()), out);
}

template <typename Sink>
EncodeResult FrameCodec::Encode(Slice message, Sink& out) const {
  Layout layout;
  const EncodeResult result = MakeLayout(message.size(), message.span(), layout);
  if (ABSL_PREDICT_FALSE(result != EncodeResult::kEncoded)) return result;
  if (layout.keep_front != 0) out.Append(message.span().first(layout.keep_front));
  out.Append(layout.length_field());
  out.Append(message.Subslice(layout.resume, message.size() - layout.resume));
  return result;
}

template <typename Sink>
EncodeResult FrameCodec::Encode(Buffer message, Sink& out) const {
  const size_t size = message.size();
  const size_t looked_at = std::min(size, front_bytes());
  Layout layout;
  const EncodeResult result = MakeLayout(size, message.Linearize(looked_at), layout);
  if (ABSL_PREDICT_FALSE(result != EncodeResult::kEncoded)) return result;
  if (layout.keep_front != 0) out.Append(message.Split(layout.keep_front));
  out.Append(layout.length_field());
  message.Drain(layout.resume - layout.keep_front);
  out.Append(std::move(message));
  return result;
}

}  // namespace sluice::framing

#endif  // SLUICE_PROTOCOLS_FRAMING_FRAME_CODEC_H_
