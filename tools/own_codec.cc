// A user's own codec on the command line, with an option of its own, as protocol.h and
// codec_protocol.h show it; sluice_test.py runs it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/tools/codec_protocol.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/protocol_options.h"
#include "sluice/tools/sluice_main.h"
#include "sluice/tools/standard_protocols.h"

namespace {

// Text behind its length, big endian, in one byte or two.
class ShortTextCodec {
 public:
  using Message = absl::Span<uint8_t>;

  ShortTextCodec(size_t length_bytes, size_t max_bytes)
      : length_bytes_(length_bytes),
        max_bytes_(std::min(max_bytes, (size_t{1} << 8 * length_bytes) - 1)) {}

  sluice::DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (in.size() < length_bytes_) return sluice::DecodeResult::NeedMore(length_bytes_);
    size_t length = 0;
    for (const uint8_t byte : in.first(length_bytes_)) length = length << 8 | byte;
    if (length > max_bytes_) {
      too_long_ = length;
      return sluice::DecodeResult::Error();
    }
    const size_t size = length_bytes_ + length;
    if (in.size() < size) return sluice::DecodeResult::NeedMore(size);
    message = in.subspan(length_bytes_, length);
    return sluice::DecodeResult::Message(size);
  }
  sluice::EncodeResult Encode(absl::Span<const uint8_t> message, sluice::Buffer& out) const {
    if (message.size() > max_bytes_) return sluice::EncodeResult::kTooLong;
    const uint8_t length[] = {static_cast<uint8_t>(message.size() >> 8),
                              static_cast<uint8_t>(message.size())};
    out.Append(absl::MakeConstSpan(length).last(length_bytes_));
    out.Append(message);
    return sluice::EncodeResult::kEncoded;
  }
  absl::Status status() const {
    if (too_long_ == 0) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("a text of ", too_long_, " bytes; at most ", max_bytes_, " are taken"));
  }
  size_t max_frame_bytes() const { return length_bytes_ + max_bytes_; }

 private:
  size_t length_bytes_;
  size_t max_bytes_;
  size_t too_long_ = 0;
};

struct ShortTextOptions {
  size_t length_bytes = 1;
};

}  // namespace

int main(int argc, char** argv) {
  sluice::tools::ProtocolOptions<ShortTextOptions> options;
  options.Number("length_bytes", &ShortTextOptions::length_bytes, 1, 2, "bytes of the length");
  sluice::tools::ProtocolTable protocols = sluice::tools::StandardProtocols();
  protocols.Add(sluice::tools::CodecProtocol<ShortTextCodec>(
      {.name = "short",
       .summary = "text behind its length",
       .message = "any bytes",
       .limits = "what the length can say, and --max_message_bytes"},
      options, [](const ShortTextOptions& chosen, size_t max_message_bytes) {
        return ShortTextCodec(chosen.length_bytes, max_message_bytes);
      }));
  return sluice::tools::SluiceMain(protocols, argc, argv);
}
