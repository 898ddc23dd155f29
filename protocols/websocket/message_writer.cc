#include "sluice/protocols/websocket/message_writer.h"

#include <utility>

#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/internal/frame_encoding.h"
#include "sluice/protocols/websocket/internal/outgoing_messages.h"

namespace sluice::websocket {

MessageWriter::MessageWriter() = default;

MessageWriter::MessageWriter(std::shared_ptr<internal::OutgoingMessage> message)
    : message_(std::move(message)) {}

MessageWriter::MessageWriter(MessageWriter&& other) noexcept = default;

MessageWriter& MessageWriter::operator=(MessageWriter&& other) noexcept {
  std::swap(message_, other.message_);
  return *this;
}

MessageWriter::~MessageWriter() {
  if (open()) message_->connection->GiveUp(*message_);
}

bool MessageWriter::open() const { return message_ != nullptr && message_->connection != nullptr; }

SendResult MessageWriter::WritePart(absl::Span<const uint8_t> bytes, bool last) {
  if (!open()) return SendResult::kRefused;
  return message_->connection->SendPart(*message_, bytes, last);
}

SendResult MessageWriter::Write(absl::Span<const uint8_t> bytes) {
  return WritePart(bytes, /*last=*/false);
}

SendResult MessageWriter::Write(absl::string_view text) { return Write(internal::AsBytes(text)); }

SendResult MessageWriter::Finish(absl::Span<const uint8_t> bytes) {
  return WritePart(bytes, /*last=*/true);
}

SendResult MessageWriter::Finish(absl::string_view text) { return Finish(internal::AsBytes(text)); }

}  // namespace sluice::websocket
