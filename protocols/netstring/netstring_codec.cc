#include "sluice/protocols/netstring/netstring_codec.h"

#include <charconv>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace sluice::netstring {
namespace {

bool IsDigit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

std::string Quoted(uint8_t byte) {
  const char character = static_cast<char>(byte);
  return absl::StrCat("'", absl::CHexEscape(absl::string_view(&character, 1)), "'");
}

}  // namespace

DecodeResult NetstringCodec::Decode(absl::Span<uint8_t> in, Message& message) {
  if (ABSL_PREDICT_FALSE(error_ != NetstringError::kNone)) return DecodeResult::Error();
  uint64_t length = 0;  // at most ten times the limit: no overflow
  for (size_t i = 0; i < in.size(); ++i) {
    const uint8_t byte = in[i];
    if (IsDigit(byte)) {
      if (i > 0 && in[0] == '0') return Fail(NetstringError::kLeadingZero, 0, byte);
      length = 10 * length + (byte - '0');
      if (length > max_message_bytes_) return Fail(NetstringError::kTooLong, length);
    } else if (i == 0) {
      return Fail(NetstringError::kNoLength, 0, byte);
    } else if (byte != ':') {
      return Fail(NetstringError::kNoColon, length, byte);
    } else {
      return DecodeMessage(in, i + 1, length, message);
    }
  }
  return DecodeResult::NeedMore(in.size() + 1);
}

DecodeResult NetstringCodec::DecodeMessage(absl::Span<uint8_t> in, size_t head_bytes,
                                           size_t message_bytes, Message& message) {
  const size_t comma = head_bytes + message_bytes;
  if (in.size() <= comma) return DecodeResult::NeedMore(comma + 1);
  if (in[comma] != ',') return Fail(NetstringError::kNoComma, message_bytes, in[comma]);
  message = in.subspan(head_bytes, message_bytes);
  return DecodeResult::Message(comma + 1);
}

NetstringCodec::Head NetstringCodec::MakeHead(uint32_t message_bytes) {
  Head head;
  char* const end =
      std::to_chars(head.bytes, head.bytes + sizeof(head.bytes) - 1, message_bytes).ptr;
  *end = ':';
  head.size = static_cast<uint8_t>(end + 1 - head.bytes);
  return head;
}

size_t NetstringCodec::max_frame_bytes() const {
  return MakeHead(max_message_bytes_).size + size_t{max_message_bytes_} + 1;
}

DecodeResult NetstringCodec::Fail(NetstringError error, uint64_t length, uint8_t byte) {
  error_ = error;
  failed_length_ = length;
  failed_byte_ = byte;
  return DecodeResult::Error();
}

absl::Status NetstringCodec::status() const {
  switch (error_) {
    case NetstringError::kNone:
      return absl::OkStatus();
    case NetstringError::kTooLong:
      return absl::ResourceExhaustedError(absl::StrCat("a netstring's length begins with ",
                                                       failed_length_, ", over the limit of ",
                                                       max_message_bytes_, " (max_message_bytes)"));
    case NetstringError::kNoLength:
      return absl::InvalidArgumentError(absl::StrCat(
          "a netstring begins with ", Quoted(failed_byte_), ", not with a digit of its length"));
    case NetstringError::kLeadingZero:
      return absl::InvalidArgumentError(
          absl::StrCat("a netstring's length begins with '0' and goes on with ",
                       Quoted(failed_byte_), "; leading zeros are not accepted"));
    case NetstringError::kNoColon:
      return absl::InvalidArgumentError(absl::StrCat("a netstring's length of ", failed_length_,
                                                     " is followed by ", Quoted(failed_byte_),
                                                     ", not by a digit or a colon"));
    case NetstringError::kNoComma:
      return absl::InvalidArgumentError(absl::StrCat("a netstring of ", failed_length_,
                                                     " bytes is followed by ", Quoted(failed_byte_),
                                                     ", not by a comma"));
  }
  return absl::InternalError("a netstring error that has no text");
}

}  // namespace sluice::netstring
