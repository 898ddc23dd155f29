#include "sluice/tools/netstring_protocol.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "sluice/protocols/netstring/netstring_codec.h"
#include "sluice/protocols/netstring/netstring_stream.h"
#include "sluice/tools/codec_protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> NetstringProtocol() {
  return CodecProtocol<netstring::NetstringCodec>(
      {.name = "netstring",
       .summary = "messages as netstrings: 5:hello,",
       .message = "any bytes",
       .limits = "a message of at most --max_message_bytes"},
      [](size_t max_message_bytes) {
        return netstring::NetstringCodec(static_cast<uint32_t>(
            std::min<size_t>(max_message_bytes, std::numeric_limits<uint32_t>::max())));
      });
}

}  // namespace sluice::tools
