// NetstringCodec reads and writes D. J. Bernstein's netstrings: the number of bytes in decimal, a
// colon, the bytes, a comma. It is a codec (protocols/codec/codec.h): no I/O. netstring_stream.h
// joins it with a Stream.
//
// Example:
//   sluice::netstring::NetstringCodec codec;
//   sluice::Buffer out;
//   codec.Encode("hello", out);                  // 5:hello,
//   absl::Span<uint8_t> message;
//   codec.Decode(in, message);                   // message is "hello", a part of `in`
//
// A message is any bytes, none too (0:,). As the format's text demands, a length has no leading
// zeros, no sign and no space, so that a message has one encoding only. What lies between two
// netstrings, a line break for instance, is an error.
//
// Limits: a length over max_message_bytes is an error at the digit that makes it so, and thereby
// digits have a bound. Errors (NetstringError) are sticky; status() names what was found and what
// was expected.
//
// Thread-compatible. 16 bytes, trivially copyable, owns nothing.
#ifndef SLUICE_PROTOCOLS_NETSTRING_NETSTRING_CODEC_H_
#define SLUICE_PROTOCOLS_NETSTRING_NETSTRING_CODEC_H_

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

namespace sluice::netstring {

// What can be wrong with received bytes.
enum class NetstringError : uint8_t {
  kNone,
  kTooLong,      // The length is over max_message_bytes.
  kNoLength,     // The first byte is no digit.
  kLeadingZero,  // A digit follows a 0 at the front.
  kNoColon,      // Something else than a digit or a colon follows the digits.
  kNoComma,      // Something else than a comma follows the message.
};

class NetstringCodec {
 public:
  using Message = absl::Span<uint8_t>;
  static constexpr bool kFrameIsReusable = true;

  explicit NetstringCodec(uint32_t max_message_bytes = 1024 * 1024)
      : max_message_bytes_(max_message_bytes) {}

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message);

  // Appends the message's netstring to `out`: a Buffer, or what has its Append functions. The first
  // two copy the message, the others share it. Not hindered by an error of Decode.
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

  // What was wrong with the bytes: OK, kResourceExhausted for kTooLong, kInvalidArgument for the
  // others.
  absl::Status status() const;
  NetstringError error() const { return error_; }

  // A netstring is never longer.
  size_t max_frame_bytes() const;
  size_t max_message_bytes() const { return max_message_bytes_; }

 private:
  // What stands in front of a message.
  struct Head {
    char bytes[11];  // ten digits, and the colon
    uint8_t size;
    absl::string_view text() const { return absl::string_view(bytes, size); }
  };

  static Head MakeHead(uint32_t message_bytes);
  template <typename Bytes, typename Sink>
  EncodeResult EncodeAny(Bytes message, Sink& out) const;

  DecodeResult DecodeMessage(absl::Span<uint8_t> in, size_t head_bytes, size_t message_bytes,
                             Message& message);
  DecodeResult Fail(NetstringError error, uint64_t length, uint8_t byte = 0);

  // Of an error, for status(): the length as far as it was read, and the byte that was wrong.
  uint64_t failed_length_ = 0;
  uint32_t max_message_bytes_;
  uint8_t failed_byte_ = 0;
  NetstringError error_ = NetstringError::kNone;
};

template <typename Bytes, typename Sink>
EncodeResult NetstringCodec::EncodeAny(Bytes message, Sink& out) const {
  if (ABSL_PREDICT_FALSE(message.size() > max_message_bytes_)) return EncodeResult::kTooLong;
  out.Append(MakeHead(static_cast<uint32_t>(message.size())).text());
  out.Append(std::move(message));
  out.Append(absl::string_view(","));
  return EncodeResult::kEncoded;
}

template <typename Sink>
EncodeResult NetstringCodec::Encode(absl::Span<const uint8_t> message, Sink& out) const {
  // One piece of memory for a first netstring, and not one for its length and a larger one for all.
  if constexpr (requires { out.Reserve(message.size()); }) {
    if (out.empty() && message.size() <= max_message_bytes_) {
      (void)out.Reserve(message.size() + sizeof(Head));
    }
  }
  return EncodeAny(message, out);
}

template <typename Sink>
EncodeResult NetstringCodec::Encode(absl::string_view message, Sink& out) const {
  return Encode(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(message.data()), message.size()), out);
}

}  // namespace sluice::netstring

#endif  // SLUICE_PROTOCOLS_NETSTRING_NETSTRING_CODEC_H_
