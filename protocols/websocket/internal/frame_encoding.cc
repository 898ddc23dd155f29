#include "sluice/protocols/websocket/internal/frame_encoding.h"

#include <cstring>
#include <string>
#include <utility>

#include "sluice/protocols/websocket/mask.h"
#include "sluice/protocols/websocket/mask_key.h"

namespace sluice::websocket::internal {

size_t EncodeFrame(Role role, FrameKind kind, absl::Span<const uint8_t> payload, uint8_t* out) {
  FrameHeader header{
      .opcode = kind.opcode, .fin = kind.fin, .rsv = kind.rsv, .payload_bytes = payload.size()};
  if (role == Role::kClient) {
    header.masked = true;
    header.mask_key = NextMaskKey();
  }
  const size_t n = EncodeFrameHeader(header, out);
  if (header.masked) {
    ApplyMask(out + n, payload.data(), payload.size(), header.mask_key);
  } else if (!payload.empty() && out + n != payload.data()) {
    std::memcpy(out + n, payload.data(), payload.size());
  }
  return n + payload.size();
}

Buffer EncodeFrame(Role role, FrameKind kind, absl::Span<const uint8_t> payload) {
  Buffer frame;
  const size_t room = kMaxFrameHeaderBytes + payload.size();
  frame.Commit(EncodeFrame(role, kind, payload, frame.Reserve(room).data()));
  return frame;
}

Slice EncodeServerFrame(FrameKind kind, absl::Span<const uint8_t> payload) {
  std::string frame(FrameHeaderBytes(payload.size()) + payload.size(), '\0');
  EncodeFrame(Role::kServer, kind, payload, reinterpret_cast<uint8_t*>(frame.data()));
  return Slice::Take(std::move(frame));
}

}  // namespace sluice::websocket::internal
