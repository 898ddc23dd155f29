#include "sluice/tools/line_protocol.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "sluice/protocols/line/line_codec.h"
#include "sluice/protocols/line/line_stream.h"
#include "sluice/tools/codec_protocol.h"
#include "sluice/tools/protocol_options.h"

namespace sluice::tools {
namespace {

using line::LineOptions;

ProtocolOptions<LineOptions> Options() {
  ProtocolOptions<LineOptions> options;
  options
      .Choice("ending", &LineOptions::ending,
              {{"lf", line::LineEnding::kLf}, {"crlf", line::LineEnding::kCrLf}},
              "what ends a line that is sent")
      .Switch("strict", &LineOptions::strict,
              "lines that are received must end with it, too; else with either");
  return options;
}

line::LineCodec NewCodec(LineOptions options, size_t max_message_bytes) {
  options.max_line_bytes = static_cast<uint32_t>(
      std::min<size_t>(max_message_bytes, std::numeric_limits<uint32_t>::max()));
  return line::LineCodec(options);
}

}  // namespace

std::unique_ptr<Protocol> LineProtocol() {
  return CodecProtocol<line::LineCodec>(
      {.name = "line",
       .summary = "lines of text",
       .message = "a line without its ending: any bytes but LF",
       .limits = "a line of at most --max_message_bytes, its ending not counted",
       .text_only = true},
      Options(), NewCodec);
}

}  // namespace sluice::tools
