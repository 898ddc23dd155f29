#ifndef SLUICE_PROTOCOLS_CODEC_SHORT_TEXT_CODEC_H_
#define SLUICE_PROTOCOLS_CODEC_SHORT_TEXT_CODEC_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"

// The example of codec.h, as it stands there, which other examples use.
class ShortTextCodec {
 public:
  using Message = absl::Span<uint8_t>;

  sluice::DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (in.empty()) return sluice::DecodeResult::NeedMore(1);
    const size_t size = 1 + size_t{in[0]};
    if (in.size() < size) return sluice::DecodeResult::NeedMore(size);
    message = in.subspan(1, size - 1);
    return sluice::DecodeResult::Message(size);
  }
  sluice::EncodeResult Encode(absl::Span<const uint8_t> message, sluice::Buffer& out) const {
    if (message.size() > 255) return sluice::EncodeResult::kTooLong;
    const uint8_t size = static_cast<uint8_t>(message.size());
    out.Append(absl::MakeConstSpan(&size, 1));
    out.Append(message);
    return sluice::EncodeResult::kEncoded;
  }
  absl::Status status() const { return absl::OkStatus(); }  // no bytes are wrong in this protocol
  size_t max_frame_bytes() const { return 256; }
};

#endif  // SLUICE_PROTOCOLS_CODEC_SHORT_TEXT_CODEC_H_
