// Writing whole frames: header and payload in one piece, masked where a client sends it.
//
// Thread-safe: functions without state, but for the thread's own mask keys.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_FRAME_ENCODING_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_FRAME_ENCODING_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/websocket/frame.h"

namespace sluice::websocket::internal {

// RSV1, on the first frame of a message that is compressed (RFC 7692 section 6).
inline constexpr uint8_t kCompressed = 4;

inline absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// What is said of a frame beside its payload.
struct FrameKind {
  Opcode opcode;
  uint8_t rsv = 0;
  bool fin = true;
};

// Writes header and payload to `out`, which has room for both, and returns their size. The payload
// may lie where it is to stand, behind its header.
size_t EncodeFrame(Role role, FrameKind kind, absl::Span<const uint8_t> payload, uint8_t* out);

// The same in memory of its own.
Buffer EncodeFrame(Role role, FrameKind kind, absl::Span<const uint8_t> payload);
// A server's, to be shared.
Slice EncodeServerFrame(FrameKind kind, absl::Span<const uint8_t> payload);

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_FRAME_ENCODING_H_
