#include "cobs/cobs_codec.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace cobs {
namespace {

constexpr size_t kMaxRun = 254;

}  // namespace

sluice::DecodeResult CobsCodec::Decode(absl::Span<uint8_t> in, Message& message) {
  if (error_ != Error::kNone) return sluice::DecodeResult::Error();
  const size_t size = std::min(in.size(), max_frame_bytes());
  const auto end = std::find(in.begin() + searched_, in.begin() + size, 0);
  if (end == in.begin() + size) {
    if (size == max_frame_bytes()) return Fail(Error::kTooLong);
    searched_ = size;
    return sluice::DecodeResult::NeedMore(0);
  }
  searched_ = 0;
  const size_t packed = end - in.begin();
  if (packed == 0) return sluice::DecodeResult::Skipped(1);
  const std::optional<size_t> unpacked = Unpack(in.first(packed));
  if (!unpacked.has_value()) return Fail(Error::kTornBlock);
  if (*unpacked > max_message_bytes_) return Fail(Error::kTooLong);
  message = in.first(*unpacked);
  return sluice::DecodeResult::Message(packed + 1);
}

std::optional<size_t> CobsCodec::Unpack(absl::Span<uint8_t> blocks) {
  uint8_t* to = blocks.data();
  for (absl::Span<const uint8_t> rest = blocks; !rest.empty();) {
    const size_t block = rest[0];
    if (block > rest.size()) return std::nullopt;
    std::memmove(to, rest.data() + 1, block - 1);
    to += block - 1;
    rest.remove_prefix(block);
    if (block <= kMaxRun && !rest.empty()) *to++ = 0;
  }
  return to - blocks.data();
}

sluice::EncodeResult CobsCodec::Encode(absl::Span<const uint8_t> message,
                                       sluice::Buffer& out) const {
  if (message.size() > max_message_bytes_) return sluice::EncodeResult::kTooLong;
  for (bool more = true; more;) {
    const size_t size = std::min(message.size(), kMaxRun);
    const size_t run = std::find(message.begin(), message.begin() + size, 0) - message.begin();
    const uint8_t block = static_cast<uint8_t>(run + 1);
    out.Append(absl::MakeConstSpan(&block, 1));
    out.Append(message.first(run));
    message.remove_prefix(run);
    more = !message.empty();
    if (more && run < kMaxRun) message.remove_prefix(1);  // the 0, behind which a block must come
  }
  const uint8_t end = 0;
  out.Append(absl::MakeConstSpan(&end, 1));
  return sluice::EncodeResult::kEncoded;
}

absl::Status CobsCodec::status() const {
  switch (error_) {
    case Error::kNone:
      return absl::OkStatus();
    case Error::kTooLong:
      return absl::ResourceExhaustedError(
          absl::StrCat("a message of more than ", max_message_bytes_, " bytes"));
    case Error::kTornBlock:
      return absl::InvalidArgumentError("a block is longer than its message");
  }
  return absl::InternalError("unknown error");
}

sluice::DecodeResult CobsCodec::Fail(Error error) {
  error_ = error;
  return sluice::DecodeResult::Error();
}

}  // namespace cobs
