// A WebSocket connection (RFC 6455) over any Stream: the opening handshake, messages, pings and the
// closing handshake, as server and as client.
//
// Example, an echo server's accept function:
//
//   class Echo : public websocket::Handler {
//     void OnMessage(websocket::Connection& c, const websocket::Message& message) override {
//       c.SendInPlace(message);
//     }
//   };
//   Echo echo;
//   websocket::Server server({});
//   auto on_accept = [&](std::unique_ptr<Stream> stream) { server.Serve(std::move(stream), echo);
//   };
//
// Lifetime. A Connection belongs to itself: it lives from Serve or Open until Handler::OnClose has
// returned. Until then pointers to it are good. It ends through Close or Abort, the peer, a broken
// rule or limit, or a deadline; OnClose comes exactly once and last. The Server or Client that made
// it, and a handler that was not given away, must outlive it.
//
// Callbacks are made by the loop, never from inside a call on the connection. In a callback
// anything may be called.
//
// Sending: any number of messages at any time from Handler::OnOpen on; they queue, within the
// limits of the Stream (StreamLimits). What a callback sends leaves in one system call when it
// returns. Pings are answered by themselves, the latest one only while the peer does not read.
//
// Rules that a peer breaks, and limits that it passes, close the connection with the code that RFC
// 6455 section 7.4.1 has for them; the message of CloseInfo::status says which it was.
//
// Memory: 80 bytes beside the Stream's, while nothing is incomplete and no keep-alive is on (with
// it about 260 more).
//
// Loop-bound.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/websocket/client_handshake.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/decoder.h"
#include "sluice/protocols/websocket/frame.h"
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

  // A server's: whether to accept what a client asks for, and how; by default it is accepted.
  virtual void OnRequest(const HandshakeRequest& /*request*/, HandshakeReply& /*reply*/) {}

  // The handshake has succeeded. connection.subprotocol() is there during this call.
  virtual void OnOpen(Connection& /*connection*/) {}

  virtual void OnMessage(Connection& connection, const Message& message) = 0;

  // Control frames that came; a ping has been answered already.
  virtual void OnPing(Connection& /*connection*/, absl::Span<const uint8_t> /*payload*/) {}
  virtual void OnPong(Connection& /*connection*/, absl::Span<const uint8_t> /*payload*/) {}

  // After a send that answered kBlocked: the queue has fallen to its low mark.
  virtual void OnSendReady(Connection& /*connection*/) {}

  // The loop is draining. The default closes with kGoingAway.
  virtual void OnDrain(Connection& connection);

  // The last call; also after a handshake that failed, and then the only one.
  virtual void OnClose(Connection& /*connection*/, const CloseInfo& /*info*/) {}
};

// A message encoded once, to be sent on many connections without copying it.
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
};

// What servers and clients have in common.
struct ConnectionOptions {
  // A message is all its fragments together.
  uint64_t max_message_bytes = uint64_t{1} << 20;
  // From the stream's beginning to the end of the opening handshake.
  absl::Duration handshake_timeout = absl::Seconds(10);
  // How long the peer has to answer a close frame.
  absl::Duration close_timeout = absl::Seconds(5);
  // Every ping_interval, a peer that has sent nothing since the last time is sent a ping, and has
  // pong_timeout to send something; that it takes what was queued for it counts, too. Infinite: no
  // pings.
  absl::Duration ping_interval = absl::InfiniteDuration();
  absl::Duration pong_timeout = absl::Seconds(10);
  // Whether and how messages are compressed, where the peer agrees: deflate.h. Null: not.
  std::shared_ptr<const Compression> compression = nullptr;
};

class Connection final : private StreamHandler {
 public:
  // Sends a message. kRefused: before OnOpen, after Close, and as Stream::Send says.
  // `text` must be valid UTF-8; that is not checked here, but by the peer.
  SendResult SendText(absl::string_view text);
  SendResult SendBinary(absl::Span<const uint8_t> bytes);
  SendResult Send(const PreparedMessage& message);

  // Sends the message that is being received back, as it then is, without copying it where that can
  // be (a server's answer leaves from the receive buffer). In OnMessage only, and the payload must
  // not change after this until OnMessage returns. Any other message is sent as by SendText or
  // SendBinary.
  SendResult SendInPlace(const Message& message);

  // A ping with at most 125 bytes (more is cut).
  SendResult SendPing(absl::Span<const uint8_t> payload = {});

  // Begins the closing handshake: nothing is sent after it, and no further message is delivered. A
  // code that may not be sent becomes kInternalError; a reason is cut to 123 bytes at a character.
  // Before OnOpen: as Abort.
  void Close(CloseCode code = CloseCode::kNormal, absl::string_view reason = {});

  // Ends at once, without a closing handshake.
  void Abort(absl::Status status);

  // Until resumed no OnMessage; what has arrived already is held back (at most what the loop
  // receives in one turn).
  void PauseReceiving();
  void ResumeReceiving();

  bool open() const { return state_ == State::kOpen; }
  Role role() const { return settings().role; }
  size_t queued_bytes() const { return stream_->queued_bytes(); }
  // For addresses, limits, deadlines and the loop. Not for sending or closing.
  Stream& stream() { return *stream_; }

  // The subprotocol that was agreed on, or "". In OnOpen.
  absl::string_view subprotocol() const;
  // Whether compression was agreed on.
  bool compresses() const { return compression_ != nullptr; }

 private:
  friend class Server;
  friend class Client;

  enum class State : uint8_t {
    kHandshake,
    kOpen,
    kClosing,  // a close frame was sent, and the peer's is awaited
    kEnded,    // nothing is sent or delivered any more; the stream has still to end
  };
  // What all connections of one Server or Client share. The decoder's part is its base, so that a
  // connection finds the rest through its decoder and need not keep a pointer of its own.
  struct Delivery;
  struct Settings : FrameDecoder::Options {
    Settings(Role r, const ConnectionOptions& o) : options(o) {
      role = r;
      max_message_bytes = o.max_message_bytes;
    }
    ConnectionOptions options;
    mutable const Delivery* delivery = nullptr;  // the OnMessage under way
  };
  struct Extras;

  Connection(std::unique_ptr<Stream> stream, const Settings& settings, Handler& handler,
             bool owns_handler);
  ~Connection() override;

  // StreamHandler:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd(Stream& stream) override;
  void OnSendReady(Stream& stream) override;
  void OnDrain(Stream& stream) override;
  void OnClose(Stream& stream, const absl::Status& status) override;

  const Settings& settings() const { return static_cast<const Settings&>(decoder_.options()); }
  const Delivery* delivery() const;
  Extras& extras();
  void BeginHandshake();
  void ContinueHandshake(absl::Span<uint8_t> bytes);
  void Opened();

  // `lent`: the bytes are what the Stream lends just now, and not what was held back.
  void ReceiveFrames(absl::Span<uint8_t> bytes, bool lent);
  void DeliverMessage(const FrameDecoder::Event& event, bool lent);
  void DeliverCompressed(const FrameDecoder::Event& event);
  void DeliverControl(const FrameDecoder::Event& event);
  void DeliverPing(absl::Span<const uint8_t> payload);
  void ArmPong(absl::Duration after);
  void AnswerPing();
  void OnPeersClose(const FrameDecoder::Event& event);
  void Hold(absl::Span<const uint8_t> bytes);
  void ReleaseHeld();
  void ReceiveInPlace();

  SendResult SendFrame(Opcode opcode, absl::Span<const uint8_t> payload);
  SendResult SendControlFrame(Opcode opcode, absl::Span<const uint8_t> payload);
  void SendCloseFrame(CloseCode code, absl::string_view reason);
  SendResult Note(SendResult result);

  void Fail(CloseCode code, absl::string_view why);
  void EndStream();
  void AwaitClose();
  void ArmTimer(absl::Duration after);
  void OnTimer();
  void KeepAlive();
  bool QueueMoved();
  void DropExtras();
  std::string Peer() const;

  std::unique_ptr<Stream> stream_;
  Handler* const handler_;
  std::unique_ptr<Extras> extras_;  // needed during handshakes, for keep-alive, and in trouble
  Compression::SessionPtr compression_;
  FrameDecoder decoder_;
  State state_ = State::kHandshake;
  bool owns_handler_ : 1;
  bool paused_ : 1;
  bool blocked_ : 1;  // a send has answered kBlocked, and OnSendReady has not come yet
  bool heard_ : 1;    // something was received since the last look (keep-alive)
  bool close_sent_ : 1;
  bool close_received_ : 1;
  bool filling_ : 1;  // the stream was given a place in the decoder's memory
};

// Server makes connections of the streams that a listener accepts; all have its options. It must
// outlive them. Loop-bound: one for each loop.
class Server {
 public:
  struct Options {
    ConnectionOptions connection;
    ServerHandshake::Options handshake;
  };

  explicit Server(Options options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Waits for the client's handshake and answers it. The handler is borrowed, or given and then
  // destroyed after OnClose.
  Connection& Serve(std::unique_ptr<Stream> stream, Handler& handler) const;
  Connection& Serve(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const;

 private:
  Connection& Start(std::unique_ptr<Stream> stream, Handler& handler, bool owns_handler) const;

  Connection::Settings settings_;
  ServerHandshake::Options handshake_;
};

// Client makes connections over streams that are connected to a server. It must outlive them.
// Loop-bound.
class Client {
 public:
  struct Options {
    ConnectionOptions connection;
    ClientHandshake::Options handshake;
  };

  // kInvalidArgument: see ClientHandshake::Create.
  static absl::StatusOr<std::unique_ptr<Client>> Create(Options options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends the handshake. The handler is borrowed, or given and then destroyed after OnClose.
  Connection& Open(std::unique_ptr<Stream> stream, Handler& handler) const;
  Connection& Open(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const;

 private:
  Connection& Start(std::unique_ptr<Stream> stream, Handler& handler, bool owns_handler) const;

  explicit Client(Options options);

  Connection::Settings settings_;
  ClientHandshake::Options handshake_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_H_
