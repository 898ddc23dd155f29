// However a stream is cut, the decoder must give the same events, stay in its bounds, and never
// read or write outside its input; and in parts it must give the same messages. The first byte
// chooses role and options, the second how the stream is cut; the rest is the stream.

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

// What events say: in their order, and apart from that the whole messages, and the rest.
struct Decoded {
  void Add(const FrameDecoder::Event& event) {
    if (event.kind == FrameDecoder::Event::kMessage || event.kind == FrameDecoder::Event::kPart)
      return AddPart(event);
    const std::string word = Say(event);
    log += word;
    rest += word;
  }
  void AddPart(const FrameDecoder::Event& event) {
    Check(event.first == part.empty());
    if (event.first) part = Say(event);
    if (!event.first) part.append(event.text());
    if (!event.last) return;
    log += part;
    messages += part;
    part.clear();
  }
  static std::string Say(const FrameDecoder::Event& event) {
    const bool data =
        event.kind == FrameDecoder::Event::kMessage || event.kind == FrameDecoder::Event::kPart;
    std::string word(1, static_cast<char>('A' + (data ? 0 : event.kind)));
    word.push_back(static_cast<char>('0' + event.is_text));
    word.push_back(static_cast<char>('0' + event.rsv));
    word.append(std::to_string(static_cast<int>(event.code)));
    word.push_back(':');
    if (event.kind != FrameDecoder::Event::kError) word.append(event.text());
    return word;
  }

  std::string log, messages, rest, part;
};

// Decodes the stream in pieces of up to max_piece bytes.
Decoded Decode(const FrameDecoder::Options& options, uint8_t rsv, bool in_parts, size_t slack,
               const uint8_t* data, size_t size, size_t max_piece) {
  FrameDecoder decoder(options, rsv);
  decoder.DeliverInParts(in_parts);
  Decoded decoded;
  for (size_t at = 0; at < size;) {
    const size_t n = std::min(size - at, max_piece == 0 ? size : 1 + (at * 7 + 3) % max_piece);
    std::vector<uint8_t> memory(slack + n);
    std::memcpy(memory.data() + slack, data + at, n);
    at += n;
    FrameDecoder::Input input{memory.data() + slack, memory.data() + slack + n, memory.data()};
    for (;;) {
      const FrameDecoder::Event event = decoder.Next(input);
      if (event.kind == FrameDecoder::Event::kNeedMore) break;
      decoded.Add(event);
      if (event.kind == FrameDecoder::Event::kError) return decoded;
      if (options.role == Role::kServer && event.kind != FrameDecoder::Event::kPart)
        Check(event.room >= FrameHeaderBytes(event.size));
      Check(event.size <= std::max<uint64_t>(options.max_message_bytes, 125) +
                              (event.rsv != 0 ? options.max_message_bytes / 512 + 64 : 0));
      std::memset(event.payload - event.room, 0xdd, event.room);
    }
    Check(input.begin == input.end);
    Check(decoder.allocated_bytes() <= (in_parts ? 0 : options.max_message_bytes * 3 / 2) + 4096);
  }
  return decoded;
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
  const auto decode = [&](bool in_parts, size_t piece) {
    return ws::Decode(options, rsv, in_parts, slack, data + 2, size - 2, piece);
  };
  const ws::Decoded whole = decode(false, 0);
  ws::Check(whole.log == decode(false, max_piece).log);
  for (const size_t piece : {size_t{0}, max_piece}) {
    const ws::Decoded parts = decode(true, piece);
    ws::Check(parts.messages == whole.messages && parts.rest == whole.rest);
  }
  return 0;
}
