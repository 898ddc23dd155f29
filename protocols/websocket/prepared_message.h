// PreparedMessage is a message encoded once, to be sent on many connections without copying it.
//
// Example:
//   const PreparedMessage news = PreparedMessage::Text("it rains", deflate.get());
//   for (websocket::Connection* connection : readers) connection->Send(news);
//
// Thread-compatible; copies share their memory, and may be used and destroyed on different threads.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_PREPARED_MESSAGE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_PREPARED_MESSAGE_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/frame.h"

namespace sluice::websocket {

class Connection;

class PreparedMessage {
 public:
  // With a compression the message is also compressed once, for all connections that have agreed on
  // that; the others get it as it is.
  static PreparedMessage Text(absl::string_view text, const Compression* compression = nullptr);
  static PreparedMessage Binary(absl::Span<const uint8_t> bytes,
                                const Compression* compression = nullptr);

  absl::Span<const uint8_t> payload() const;

 private:
  friend class Connection;
  PreparedMessage(Opcode opcode, absl::Span<const uint8_t> payload, const Compression* compression);

  Slice frame_;       // a server's
  Slice compressed_;  // the same, compressed; empty for none
  Opcode opcode_;
  size_t payload_bytes_;
  size_t compressed_bytes_ = 0;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_PREPARED_MESSAGE_H_
