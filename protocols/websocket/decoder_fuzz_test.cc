// However a stream is cut, the decoder must give the same events, stay in its bounds, and never
// read or write outside its input. The first byte chooses role and options, the second how the
// stream is cut; the rest is the stream.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "sluice/protocols/websocket/decoder.h"
#include "sluice/protocols/websocket/frame.h"

namespace sluice::websocket {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

// Appends what an event says to a log.
void Log(const FrameDecoder::Event& event, std::string& log) {
  log.push_back(static_cast<char>('A' + event.kind));
  log.push_back(static_cast<char>('0' + event.is_text));
  log.push_back(static_cast<char>('0' + event.rsv));
  log.append(std::to_string(static_cast<int>(event.code)));
  log.push_back(':');
  if (event.kind != FrameDecoder::Event::kError) log.append(event.text());
}

// Decodes the stream in pieces of up to max_piece bytes.
std::string Decode(const FrameDecoder::Options& options, uint8_t rsv, size_t slack,
                   const uint8_t* data, size_t size, size_t max_piece) {
  FrameDecoder decoder(options, rsv);
  std::string log;
  for (size_t at = 0; at < size;) {
    const size_t n = std::min(size - at, max_piece == 0 ? size : 1 + (at * 7 + 3) % max_piece);
    std::vector<uint8_t> memory(slack + n);
    std::memcpy(memory.data() + slack, data + at, n);
    at += n;
    FrameDecoder::Input input{memory.data() + slack, memory.data() + slack + n, memory.data()};
    for (;;) {
      const FrameDecoder::Event event = decoder.Next(input);
      if (event.kind == FrameDecoder::Event::kNeedMore) break;
      Log(event, log);
      if (event.kind == FrameDecoder::Event::kError) return log;
      if (options.role == Role::kServer) Check(event.room >= FrameHeaderBytes(event.size));
      Check(event.size <= std::max<uint64_t>(options.max_message_bytes, 125));
      std::memset(event.payload - event.room, 0xdd, event.room);
    }
    Check(input.begin == input.end);
    Check(decoder.allocated_bytes() <= options.max_message_bytes * 3 / 2 + 4096);
  }
  return log;
}

}  // namespace
}  // namespace sluice::websocket

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace ws = sluice::websocket;
  if (size < 2) return 0;
  ws::FrameDecoder::Options options;
  options.role = data[0] & 1 ? ws::Role::kClient : ws::Role::kServer;
  options.max_message_bytes = data[0] & 2 ? 100 : 100000;
  options.max_empty_fragments = 4;
  const uint8_t rsv = data[0] & 4 ? 4 : 0;
  const size_t slack = data[0] & 8 ? 16 : 0;
  const size_t max_piece = size_t{1} << (data[1] & 7);
  const std::string whole = ws::Decode(options, rsv, slack, data + 2, size - 2, 0);
  const std::string in_pieces = ws::Decode(options, rsv, slack, data + 2, size - 2, max_piece);
  if (whole != in_pieces) std::abort();
  return 0;
}
