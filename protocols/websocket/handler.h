// Handler is what the user of a WebSocket connection implements: what it is told, and in which
// terms. An example is in connection.h.
//
// Calls come from the loop of the connection, never from inside a call on it. The bytes of messages
// and control frames are lent until the call returns.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_HANDLER_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_HANDLER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/handshake.h"

namespace sluice::websocket {

class Connection;

// A received message. The payload is lent, and may be changed, until OnMessage returns.
struct Message {
  bool is_text = false;  // then it is valid UTF-8
  absl::Span<uint8_t> payload;

  absl::string_view text() const {
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
  }
};

// A part of one, as it arrives; of any size.
struct MessagePart {
  bool is_text = false;  // then it is valid UTF-8 so far, but may end within a character
  bool first = false;    // a message begins with it
  bool last = false;     // a message ends with it, which may be empty
  absl::Span<uint8_t> payload;
};

// How a connection ended.
struct CloseInfo {
  // Of the first close frame, whoever sent it; kNoStatus if that had none; kAbnormal if there was
  // no close frame.
  CloseCode code = CloseCode::kAbnormal;
  absl::string_view reason;
  bool by_peer = false;  // that frame was the peer's
  bool clean = false;    // both sides sent one
  // OK when clean. Else why: the transport's failure, a broken rule (kInvalidArgument) or limit
  // (kResourceExhausted), the refused handshake.
  absl::Status status;
};

// What the user of a Connection implements.
class Handler {
 public:
  virtual ~Handler() = default;

  // A server's: whether to accept what a client asks for, and how; by default it is accepted. The
  // connection is there for who asks (peer_address() of its stream(), and that itself, which is
  // what Serve was given: over TLS a tls::TlsStream, by dynamic_cast), for SetHandler and for
  // Abort.
  virtual void OnRequest(Connection& /*connection*/, const HandshakeRequest& /*request*/,
                         HandshakeReply& /*reply*/) {}

  // The handshake has succeeded. connection.subprotocol() is there during this call.
  virtual void OnOpen(Connection& /*connection*/) {}

  virtual void OnMessage(Connection& connection, const Message& message) = 0;

  // What has arrived of a message, after Connection::ReceiveInParts.
  virtual void OnMessagePart(Connection& /*connection*/, const MessagePart& /*part*/) {}

  // Control frames that came; a ping has been answered already.
  virtual void OnPing(Connection& /*connection*/, absl::Span<const uint8_t> /*payload*/) {}
  virtual void OnPong(Connection& /*connection*/, absl::Span<const uint8_t> /*payload*/) {}

  // After a send that answered kBlocked: the queue has fallen to its low mark.
  virtual void OnSendReady(Connection& /*connection*/) {}

  // The loop is draining: DrainOptions in connection_options.h say when this is called, and with
  // what code the default closes.
  virtual void OnDrain(Connection& connection);

  // The last call; also after a handshake that failed, and then the only one.
  virtual void OnClose(Connection& /*connection*/, const CloseInfo& /*info*/) {}
};

// Is told, for all connections of a server or client, what somebody beside their handlers has to
// know: topics.h is one. It outlives them.
class ConnectionObserver {
 public:
  // Before the handler's.
  virtual void OnSendReady(Connection& connection) = 0;
  virtual void OnClose(Connection& connection, const CloseInfo& info) = 0;

 protected:
  ~ConnectionObserver() = default;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_HANDLER_H_
