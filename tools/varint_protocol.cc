#include "sluice/tools/varint_protocol.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "sluice/protocols/varint/varint_codec.h"
#include "sluice/protocols/varint/varint_stream.h"
#include "sluice/tools/codec_protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> VarintProtocol() {
  return CodecProtocol<varint::VarintCodec>(
      {.name = "varint",
       .summary = "messages behind a varint, as protobuf's delimited streams",
       .message = "any bytes",
       .limits = "a message of at most --max_message_bytes"},
      [](size_t max_message_bytes) {
        return varint::VarintCodec(static_cast<uint32_t>(
            std::min<size_t>(max_message_bytes, std::numeric_limits<uint32_t>::max())));
      });
}

}  // namespace sluice::tools
