#include "sluice/protocols/varint/varint_codec.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace sluice::varint {

DecodeResult VarintCodec::DecodeGeneral(absl::Span<uint8_t> in, Message& message) {
  if (error_ != VarintError::kNone) return DecodeResult::Error();
  uint64_t length = 0;
  for (size_t i = 0; i < std::min(in.size(), kMaxDecodedVarintBytes); ++i) {
    const uint64_t byte = in[i];
    // Of the tenth byte, one bit is left.
    if (i == kMaxDecodedVarintBytes - 1 && byte > 1) return Fail(VarintError::kNotVarint, 0);
    length |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return DecodeMessage(in, i + 1, length, message);
  }
  return DecodeResult::NeedMore(in.size() + 1);
}

DecodeResult VarintCodec::Fail(VarintError error, uint64_t message_bytes) {
  error_ = error;
  failed_message_bytes_ = message_bytes;
  return DecodeResult::Error();
}

absl::Status VarintCodec::status() const {
  switch (error_) {
    case VarintError::kNone:
      return absl::OkStatus();
    case VarintError::kTooLong:
      return absl::ResourceExhaustedError(absl::StrCat("a message of ", failed_message_bytes_,
                                                       " bytes is over the limit of ",
                                                       max_message_bytes_, " (max_message_bytes)"));
    case VarintError::kNotVarint:
      return absl::InvalidArgumentError(
          "a message's length is a varint of more than 64 bits, in ten bytes or more");
  }
  return absl::InternalError("a varint error that has no text");
}

}  // namespace sluice::varint
