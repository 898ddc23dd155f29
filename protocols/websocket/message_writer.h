// MessageWriter sends a message of which not all is there yet, nor how long it will be: in
// fragments, as it comes. (What is there, but large, is better sent from a MessageSource.)
//
// Example: what a program writes, as one text message.
//   MessageWriter log = connection.StartMessage(MessageType::kText);
//   log.Write("compiling\n");
//   if (log.Write("linking\n") == SendResult::kBlocked) {
//     // go on in Handler::OnSendReady
//   }
//   log.Finish("done\n");
//
// Order. WebSocket does not mix messages: what is sent while one is under way waits behind it, and
// so do further messages in parts, each in the order in which they were started; all within the
// limits of the Stream. Control frames do not wait. Who was told to wait because much waits behind
// a message in parts hears of room only when that message goes on.
//
// Messages in parts are not compressed.
//
// Loop-bound.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_MESSAGE_WRITER_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_MESSAGE_WRITER_H_

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/stream.h"

namespace sluice::websocket {

namespace internal {
struct OutgoingMessage;
}

class MessageWriter {
 public:
  // Of no message: refuses.
  MessageWriter();
  MessageWriter(MessageWriter&&) noexcept;
  MessageWriter& operator=(MessageWriter&&) noexcept;

  // What was not finished is not sent, where nothing of it has left. Else it cannot be taken back,
  // and the connection is closed with kInternalError. May be destroyed after its connection.
  ~MessageWriter();

  // Sends a fragment with these bytes; nothing for none. Of a text they may end within a character.
  // As Connection::SendText; kRefused after Finish, too.
  SendResult Write(absl::Span<const uint8_t> bytes);
  SendResult Write(absl::string_view text);

  // The message ends, with these bytes.
  SendResult Finish(absl::Span<const uint8_t> bytes = {});
  SendResult Finish(absl::string_view text);

  // Whether more can be written: false after Finish, and when the connection no longer sends.
  bool open() const;

 private:
  friend class Connection;
  explicit MessageWriter(std::shared_ptr<internal::OutgoingMessage> message);
  SendResult WritePart(absl::Span<const uint8_t> bytes, bool last);

  std::shared_ptr<internal::OutgoingMessage> message_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_MESSAGE_WRITER_H_
