#include "sluice/protocols/line/line_codec.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace sluice::line {
namespace {

// Null for none.
const uint8_t* FindLf(const uint8_t* begin, const uint8_t* end) {
  if (begin >= end) return nullptr;  // also for an empty span, which may be null
  return static_cast<const uint8_t*>(std::memchr(begin, '\n', static_cast<size_t>(end - begin)));
}

}  // namespace

DecodeResult LineCodec::Decode(absl::Span<uint8_t> in, Message& message) {
  if (ABSL_PREDICT_FALSE(error_ != LineError::kNone)) return DecodeResult::Error();
  // Beyond the limit no ending helps.
  const absl::Span<uint8_t> near = in.first(std::min(in.size(), max_frame_bytes()));
  const uint8_t* const lf = FindLf(near.data() + looked_at_, near.data() + near.size());
  if (lf == nullptr) return Unfinished(near);

  looked_at_ = 0;
  const size_t before_lf = static_cast<size_t>(lf - near.data());
  const bool has_cr = strips_cr() && before_lf > 0 && lf[-1] == '\r';
  const size_t line_bytes = before_lf - has_cr;
  if (ABSL_PREDICT_FALSE(line_bytes > max_line_bytes_)) return Fail(LineError::kTooLong);
  if (ABSL_PREDICT_FALSE(strict_ && strips_cr() && !has_cr)) {
    bare_line_bytes_ = static_cast<uint32_t>(line_bytes);
    return Fail(LineError::kBareLf);
  }
  message = near.first(line_bytes);
  return DecodeResult::Message(before_lf + 1);
}

// No LF is among these bytes, which are at most max_frame_bytes().
DecodeResult LineCodec::Unfinished(absl::Span<const uint8_t> in) {
  // A CR may yet turn out to be of the ending.
  const bool may_have_cr = strips_cr() && !in.empty() && in.back() == '\r';
  const size_t line_bytes = in.size() - may_have_cr;
  if (line_bytes > max_line_bytes_) return Fail(LineError::kTooLong);
  looked_at_ = static_cast<uint32_t>(line_bytes);
  return DecodeResult::NeedMore(0);
}

EncodeResult LineCodec::Check(absl::Span<const uint8_t> message) const {
  if (message.size() > max_line_bytes_) return EncodeResult::kTooLong;
  if (FindLf(message.data(), message.data() + message.size()) != nullptr) {
    return EncodeResult::kInvalid;
  }
  const bool cr_would_go = strips_cr() && ending_ == LineEnding::kLf;
  if (cr_would_go && !message.empty() && message.back() == '\r') return EncodeResult::kInvalid;
  return EncodeResult::kEncoded;
}

DecodeResult LineCodec::Fail(LineError error) {
  error_ = error;
  return DecodeResult::Error();
}

absl::Status LineCodec::status() const {
  switch (error_) {
    case LineError::kNone:
      return absl::OkStatus();
    case LineError::kTooLong:
      return absl::ResourceExhaustedError(absl::StrCat("a line is longer than the limit of ",
                                                       max_line_bytes_, " bytes (max_line_bytes)"));
    case LineError::kBareLf:
      return absl::InvalidArgumentError(absl::StrCat(
          "a line of ", bare_line_bytes_, " bytes ends with LF alone; only CRLF is accepted"));
  }
  return absl::InternalError("a line error that has no text");
}

}  // namespace sluice::line
