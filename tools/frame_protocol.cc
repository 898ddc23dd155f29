#include "sluice/tools/frame_protocol.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/status/statusor.h"
#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/protocols/framing/frame_stream.h"
#include "sluice/tools/codec_protocol.h"
#include "sluice/tools/protocol_options.h"

namespace sluice::tools {
namespace {

using framing::FrameOptions;

constexpr int64_t kInt32Min = std::numeric_limits<int32_t>::min();
constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

ProtocolOptions<FrameOptions> Options() {
  ProtocolOptions<FrameOptions> options;
  options
      .Choice("length_bytes", &FrameOptions::length_bytes,
              {{"1", 1}, {"2", 2}, {"3", 3}, {"4", 4}, {"8", 8}, {"varint", FrameOptions::kVarint}},
              "bytes of the length")
      .Choice(
          "byte_order", &FrameOptions::byte_order,
          {{"big", framing::ByteOrder::kBigEndian}, {"little", framing::ByteOrder::kLittleEndian}},
          "which end of the length comes first")
      .Number("length_offset", &FrameOptions::length_offset, 0, 65535,
              "bytes of a frame before its length")
      .Number("length_adjustment", &FrameOptions::length_adjustment, kInt32Min, kInt32Max,
              "what is added to the length to get the number of bytes behind it")
      .Number("bytes_to_strip", &FrameOptions::bytes_to_strip, 0, kInt32Max,
              "bytes at the front of a frame that are not of the message",
              {{"through_length", FrameOptions::kThroughLength}});
  return options;
}

absl::StatusOr<framing::FrameCodec> NewCodec(FrameOptions options, size_t max_message_bytes) {
  options.max_message_bytes =
      static_cast<int64_t>(std::min<uint64_t>(max_message_bytes, kInt32Max));
  return framing::FrameCodec::Create(options);
}

}  // namespace

std::unique_ptr<Protocol> FrameProtocol() {
  return CodecProtocol<framing::FrameCodec>({.name = "frame",
                                             .summary = "messages behind their length",
                                             .message = "any bytes",
                                             .limits = "a message of at most --max_message_bytes"},
                                            Options(), NewCodec);
}

}  // namespace sluice::tools
