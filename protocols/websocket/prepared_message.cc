#include "sluice/protocols/websocket/prepared_message.h"

#include "sluice/protocols/websocket/internal/frame_encoding.h"

namespace sluice::websocket {

PreparedMessage::PreparedMessage(Opcode opcode, absl::Span<const uint8_t> payload,
                                 const Compression* compression)
    : frame_(internal::EncodeServerFrame({opcode}, payload)),
      opcode_(opcode),
      payload_bytes_(payload.size()) {
  if (compression == nullptr) return;
  const absl::Span<const uint8_t> compressed = compression->CompressAlone(payload);
  compressed_bytes_ = compressed.size();
  if (!compressed.empty())
    compressed_ = internal::EncodeServerFrame({opcode, internal::kCompressed}, compressed);
}

PreparedMessage PreparedMessage::Text(absl::string_view text, const Compression* compression) {
  return PreparedMessage(Opcode::kText, internal::AsBytes(text), compression);
}

PreparedMessage PreparedMessage::Binary(absl::Span<const uint8_t> bytes,
                                        const Compression* compression) {
  return PreparedMessage(Opcode::kBinary, bytes, compression);
}

absl::Span<const uint8_t> PreparedMessage::payload() const {
  return frame_.span().last(payload_bytes_);
}

}  // namespace sluice::websocket
