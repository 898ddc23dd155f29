#include "sluice/tools/frame_protocol.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/protocols/framing/frame_stream.h"
#include "sluice/tools/codec_protocol.h"

namespace sluice::tools {
namespace {

framing::FrameCodec NewCodec(size_t max_message_bytes) {
  framing::FrameOptions options;
  options.max_message_bytes = static_cast<int64_t>(
      std::min<uint64_t>(max_message_bytes, std::numeric_limits<int32_t>::max()));
  return framing::FrameCodec::Create(options).value();
}

}  // namespace

std::unique_ptr<Protocol> FrameProtocol() {
  return CodecProtocol<framing::FrameCodec>("frame", NewCodec);
}

}  // namespace sluice::tools
