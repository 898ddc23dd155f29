// Consistent overhead byte stuffing, as it is spoken on serial lines: a message has no byte 0,
// which is what ends it. It is a chain of blocks, each a byte n and n - 1 bytes that are not 0;
// between two blocks stands a byte 0 of the message, unless the first of them has n = 255.
#ifndef COBS_COBS_CODEC_H_
#define COBS_COBS_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"

namespace cobs {

class CobsCodec {
 public:
  using Message = absl::Span<uint8_t>;

  explicit CobsCodec(size_t max_message_bytes) : max_message_bytes_(max_message_bytes) {}

  // Unpacks a message in its place. Zeros that follow one another have no message between them.
  sluice::DecodeResult Decode(absl::Span<uint8_t> in, Message& message);
  sluice::EncodeResult Encode(absl::Span<const uint8_t> message, sluice::Buffer& out) const;

  absl::Status status() const;
  size_t max_frame_bytes() const { return max_message_bytes_ + max_message_bytes_ / 254 + 2; }

 private:
  enum class Error : uint8_t { kNone, kTooLong, kTornBlock };

  sluice::DecodeResult Fail(Error error);
  // The size of the message, which takes the place of its blocks; none if they are wrong.
  static std::optional<size_t> Unpack(absl::Span<uint8_t> blocks);

  size_t max_message_bytes_;
  size_t searched_ = 0;  // so many bytes of an unfinished message are not 0
  Error error_ = Error::kNone;
};

}  // namespace cobs

#endif  // COBS_COBS_CODEC_H_
