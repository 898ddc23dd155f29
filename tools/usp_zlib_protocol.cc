#include "sluice/tools/usp_zlib_protocol.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/protocols/usp/zlib_frame_codec.h"
#include "sluice/protocols/usp/zlib_frame_stream.h"
#include "sluice/tools/codec_protocol.h"
#include "sluice/tools/codec_text.h"
#include "sluice/tools/protocol_options.h"

namespace sluice::tools {
namespace {

using usp::ZlibFrameOptions;

constexpr uint64_t kMaxMessageBytes = uint64_t{1} << 30;
constexpr int64_t kMaxCompressedBytes = 2147483647;

// The port's server sees that a client has ended, and lets the connection be.
struct ZlibText : PlainText {
  absl::Duration PeerSilence() const { return absl::Seconds(2); }
};

ProtocolOptions<ZlibFrameOptions> Options() {
  ProtocolOptions<ZlibFrameOptions> options;
  options
      .Choice("byte_order", &ZlibFrameOptions::byte_order,
              {{"little", std::endian::little}, {"big", std::endian::big}},
              "which end of the length comes first: as on the peer's machine")
      .Number("level", &ZlibFrameOptions::level, 1, 9, "of what is sent: from fast to small")
      .Number("max_compressed_bytes", &ZlibFrameOptions::max_compressed_bytes, 8,
              kMaxCompressedBytes, "what a message may have when compressed",
              {{"what_messages_need", ZlibFrameOptions::kWhatMessagesNeed}});
  return options;
}

absl::StatusOr<usp::ZlibFrameCodec> NewCodec(ZlibFrameOptions options, size_t max_message_bytes) {
  options.max_message_bytes =
      static_cast<int64_t>(std::min<uint64_t>(max_message_bytes, kMaxMessageBytes));
  return usp::ZlibFrameCodec::Create(options);
}

}  // namespace

std::unique_ptr<Protocol> UspZlibProtocol() {
  return CodecProtocol<usp::ZlibFrameCodec, ZlibText>(
      {.name = "usp-zlib",
       .summary = "messages of the older Python port of usp: zlib streams behind their length",
       .message = "any bytes",
       .limits = "a message of at most --max_message_bytes, 1073741824 at most, when decompressed"},
      Options(), NewCodec);
}

}  // namespace sluice::tools
