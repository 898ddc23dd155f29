// OutgoingMessages is the order in which a connection sends what it is given while a message in
// parts is under way. The first one is that message: its parts leave at once. All others wait,
// encoded, for their turn.
//
// Loop-bound. Of one Connection.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_OUTGOING_MESSAGES_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_OUTGOING_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/internal/frame_encoding.h"
#include "sluice/protocols/websocket/message_source.h"

namespace sluice::websocket {

class Connection;

namespace internal {

// Shared with its writer, where there is one.
struct OutgoingMessage {
  Connection* connection = nullptr;  // null when nothing more can be written to it
  Opcode opcode = Opcode::kBinary;   // of its next fragment
  std::unique_ptr<MessageSource> source = nullptr;
  bool finished = false;
  Buffer waiting = {};  // its frames, while it is behind others
};

class OutgoingMessages {
 public:
  explicit OutgoingMessages(Role role) : role_(role) {}
  ~OutgoingMessages();
  OutgoingMessages(const OutgoingMessages&) = delete;
  OutgoingMessages& operator=(const OutgoingMessages&) = delete;

  // Whether nothing is left to be sent, or to wait for.
  bool done() const {
    return messages_.empty() || (messages_.size() == 1 && messages_.front()->finished &&
                                 messages_.front()->waiting.empty());
  }
  // Whether nothing more leaves before a writer writes.
  bool is_writers_turn() const {
    return !messages_.empty() && !messages_.front()->finished &&
           messages_.front()->source == nullptr && messages_.front()->waiting.empty();
  }
  size_t waiting_bytes() const { return waiting_bytes_; }

  // A message in parts, behind all others.
  std::shared_ptr<OutgoingMessage> Start(Connection& connection, MessageType type,
                                         std::unique_ptr<MessageSource> source = nullptr);
  bool IsFirst(const OutgoingMessage& message) const { return &message == messages_.front().get(); }
  // False, and it stays, where a part of it has left already.
  bool Retract(const OutgoingMessage& message);

  // A fragment of `message`; the last one ends it.
  Buffer EncodePart(OutgoingMessage& message, absl::Span<const uint8_t> bytes, bool last);

  // Frames that wait: of a message in parts that is not the first; whole messages, behind all.
  void Wait(OutgoingMessage& message, Buffer frames);
  void Wait(Buffer frames);

  // Sends what is the first one's turn, and begins with those behind it. Sources are read while
  // the stream takes more (it is not `blocked`, and `transmit` returns true), and up to `budget`.
  struct Progress {
    absl::Status failure;  // of a source
    bool more = false;     // stopped by the budget
    // From sources.
    uint64_t messages_read = 0;  // to their end
    uint64_t bytes_read = 0;
    // Kept for the caller to destroy: sources may call the connection.
    std::list<std::shared_ptr<OutgoingMessage>> sent = {};
  };
  using Transmit = absl::FunctionRef<bool(Buffer frames)>;
  Progress Advance(bool blocked, size_t budget, Transmit transmit);

 private:
  static FrameKind NextFrame(OutgoingMessage& message, bool last);
  absl::StatusOr<size_t> ReadPart(OutgoingMessage& message, Buffer& frame);

  const Role role_;
  std::list<std::shared_ptr<OutgoingMessage>> messages_;
  size_t waiting_bytes_ = 0;
};

}  // namespace internal
}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_OUTGOING_MESSAGES_H_
