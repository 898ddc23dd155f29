// The header of a WebSocket frame (RFC 6455 section 5.2), and writing it. Reading is decoder.h's.
//
//   byte 0     FIN | RSV1-3 | opcode (4 bits)
//   byte 1     MASK | length (7 bits): 0-125, or 126: the next 2 bytes have it, or 127: the next 8
//   then       the length, big-endian, in the least of the three forms that holds it
//   then       the mask key, 4 bytes, if MASK: in frames from a client, and in those alone
//
// Example, a whole text frame from a server:
//   uint8_t frame[kMaxFrameHeaderBytes + 5];
//   size_t n = EncodeFrameHeader({.opcode = Opcode::kText, .payload_bytes = 5}, frame);
//   std::memcpy(frame + n, "Hello", 5);
//
// Thread-safe: functions without state.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_FRAME_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sluice::websocket {

// Which end of a connection one is.
enum class Role : uint8_t { kServer, kClient };

enum class Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

enum class MessageType : uint8_t { kText = 1, kBinary = 2 };  // as their opcodes

constexpr bool IsControl(Opcode opcode) { return static_cast<uint8_t>(opcode) >= 8; }

inline constexpr size_t kMaxFrameHeaderBytes = 14;
inline constexpr size_t kMaxControlPayloadBytes = 125;

struct FrameHeader {
  Opcode opcode = Opcode::kBinary;
  bool fin = true;
  uint8_t rsv = 0;  // RSV1 is 4, RSV2 is 2, RSV3 is 1
  bool masked = false;
  uint32_t mask_key = 0;  // its bytes in the order of the wire, as in mask.h
  uint64_t payload_bytes = 0;
};

// 2, 4 or 10 bytes, and 4 more if masked.
constexpr size_t FrameHeaderBytes(uint64_t payload_bytes, bool masked = false) {
  const size_t length_bytes = payload_bytes <= 125 ? 0 : payload_bytes <= 0xffff ? 2 : 8;
  return 2 + length_bytes + (masked ? 4 : 0);
}

// Writes the header to `out`, which has room for FrameHeaderBytes() of it, and returns that number.
// The caller sees to it that the header makes sense.
inline size_t EncodeFrameHeader(const FrameHeader& header, uint8_t* out) {
  const uint64_t size = header.payload_bytes;
  const uint8_t mask_bit = header.masked ? 0x80 : 0;
  out[0] = static_cast<uint8_t>((header.fin ? 0x80 : 0) | header.rsv << 4 |
                                static_cast<uint8_t>(header.opcode));
  size_t n = 2;
  if (size <= 125) {
    out[1] = static_cast<uint8_t>(mask_bit | size);
  } else if (size <= 0xffff) {
    out[1] = mask_bit | 126;
    out[2] = static_cast<uint8_t>(size >> 8);
    out[3] = static_cast<uint8_t>(size);
    n = 4;
  } else {
    out[1] = mask_bit | 127;
    for (int i = 0; i < 8; ++i) out[2 + i] = static_cast<uint8_t>(size >> (56 - 8 * i));
    n = 10;
  }
  if (header.masked) {
    std::memcpy(out + n, &header.mask_key, 4);
    n += 4;
  }
  return n;
}

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_FRAME_H_
