// A user's own codec on the command line, as protocol.h and codec_protocol.h show it;
// sluice_test.py runs it.

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/tools/codec_protocol.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/sluice_main.h"
#include "sluice/tools/standard_protocols.h"

namespace {

// Text of at most 255 bytes behind its length in one byte.
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
  absl::Status status() const { return absl::OkStatus(); }
  size_t max_frame_bytes() const { return 256; }
};

}  // namespace

int main(int argc, char** argv) {
  sluice::tools::ProtocolTable protocols = sluice::tools::StandardProtocols();
  protocols.Add(sluice::tools::CodecProtocol<ShortTextCodec>({.name = "short"}));
  return sluice::tools::SluiceMain(protocols, argc, argv);
}
