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
// Example, one port for chat rooms, each guest with a state of his own, and for a health check:
//
//   class Lobby : public websocket::Handler {
//     void OnRequest(websocket::Connection& c, const websocket::HandshakeRequest& request,
//                    websocket::HandshakeReply& reply) override {
//       if (request.path() == "/health") return reply.Respond(200, "well\n");
//       const auto room = request.FindInQuery("room");
//       if (!room.has_value()) return reply.Respond(404, "which room?\n");
//       c.SetHandler(std::make_unique<Guest>(*room, c.stream().peer_address()));
//     }
//     void OnMessage(websocket::Connection&, const websocket::Message&) override {}
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
// returns. Pings are answered by themselves; of those that come while an answer still waits behind
// other messages, for a peer that reads slowly, the latest only. Pings, pongs and the close frame
// may pass the hard limit by a reserve (Stream::SendControl); a pong, or the close frame of Close,
// for which there is no room even there leaves when the peer has read.
//
// Rules that a peer breaks, and limits that it passes, close the connection with the code that RFC
// 6455 section 7.4.1 has for them; the message of CloseInfo::status says which it was.
//
// Memory: 80 bytes beside the Stream's, while nothing is incomplete and neither pings nor an idle
// timeout are on (with either, and while it waits for its turn in a drain, about 370 more).
//
// Loop-bound.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/websocket/client_handshake.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/connection_options.h"
#include "sluice/protocols/websocket/counters.h"
#include "sluice/protocols/websocket/decoder.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/handshake.h"
#include "sluice/protocols/websocket/message_source.h"
#include "sluice/protocols/websocket/message_writer.h"
#include "sluice/protocols/websocket/prepared_message.h"

namespace sluice::websocket {

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

  // Sends a message in parts: message_writer.h. What is sent by other calls meanwhile waits behind
  // it. Close cuts it off, and what waits behind it is not sent.
  MessageWriter StartMessage(MessageType type);
  // The same as fast as the peer takes it; nothing more is to be done. kRefused destroys the source
  // at once; else it goes when it is read to its end, or with the connection.
  SendResult SendFrom(MessageType type, std::unique_ptr<MessageSource> source);

  // A ping with at most 125 bytes (more is cut).
  SendResult SendPing(absl::Span<const uint8_t> payload = {});

  // Begins the closing handshake: nothing is sent after it, and no further message is delivered. A
  // code that may not be sent becomes kInternalError; a reason is cut to 123 bytes at a character.
  // Before OnOpen: as Abort.
  void Close(CloseCode code = CloseCode::kNormal, absl::string_view reason = {});

  // Ends at once, without a closing handshake.
  void Abort(absl::Status status);

  // From now on calls go to this handler, which is borrowed, or given and then destroyed after
  // OnClose. In any callback. The one before, if it was given, is destroyed by the loop, once the
  // callback has returned.
  void SetHandler(Handler& handler);
  void SetHandler(std::unique_ptr<Handler> handler);

  // Until resumed no OnMessage; what has arrived already is held back (at most what the loop
  // receives in one turn).
  void PauseReceiving();
  void ResumeReceiving();

  // Whether messages come in parts, from the next one on: Handler::OnMessagePart is then called
  // instead of OnMessage, for all of them.
  void ReceiveInParts(bool in_parts = true);

  bool open() const { return state_ == State::kOpen; }
  // Whether a send has answered kBlocked and OnSendReady is still to come.
  bool blocked() const { return ready_owed_; }
  Role role() const { return settings().role; }
  const ConnectionOptions& options() const { return settings().options; }
  size_t queued_bytes() const;
  // For addresses, limits, deadlines, the loop, and whatever else its own class tells. Not for
  // sending or closing.
  Stream& stream() { return *stream_; }

  // The subprotocol that was agreed on, or "". In OnOpen.
  absl::string_view subprotocol() const;
  // Whether compression was agreed on.
  bool compresses() const { return compression_ != nullptr; }

 private:
  friend class Server;
  friend class Client;
  friend class MessageWriter;

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
    mutable Counters counters;
  };
  struct Extras;
  struct Ordered;
  struct Inflating;

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
  Counters& counters() const { return settings().counters; }
  void CountEnd(const CloseInfo& info);
  const Delivery* delivery() const;
  Extras& extras();
  void Shake(std::unique_ptr<ServerHandshake> handshake);
  void Shake(std::unique_ptr<ClientHandshake> handshake);
  void ReplaceHandler(Handler& handler, bool owned);
  void BeginHandshake();
  void ContinueHandshake(absl::Span<uint8_t> bytes);
  void Opened();

  // `lent`: the bytes are what the Stream lends just now, and not what was held back.
  void ReceiveFrames(absl::Span<uint8_t> bytes, bool lent);
  void DeliverMessage(const FrameDecoder::Event& event, bool lent);
  void DeliverCompressed(const FrameDecoder::Event& event);
  void DeliverPart(const FrameDecoder::Event& event);
  void CountPart(size_t bytes, bool last);
  void Inflate(absl::Span<const uint8_t> compressed, bool last);
  bool HoldsCompressed() const;
  void DeliverControl(const FrameDecoder::Event& event);
  bool CountControlFrame();
  void DeliverPing(absl::Span<const uint8_t> payload);
  void ArmPong(absl::Duration after);
  void AnswerPing();
  bool MayPong() const;
  void SendPong();
  void OnPeersClose(const FrameDecoder::Event& event);
  void Hold(absl::Span<const uint8_t> bytes);
  void ReleaseHeld();
  void ReceiveInPlace();

  SendResult SendFrame(Opcode opcode, absl::Span<const uint8_t> payload);
  SendResult SendControlFrame(Opcode opcode, absl::Span<const uint8_t> payload);
  void SendCloseFrame(CloseCode code, absl::string_view reason);
  SendResult Note(SendResult result);
  SendResult NoteOwn(SendResult result);
  SendResult NoteMessage(SendResult result, size_t bytes);
  SendResult Refused();
  void CountParts(uint64_t messages, uint64_t bytes);
  SendResult CountMessage(SendResult result, size_t bytes, size_t compressed_bytes = 0);
  void NoteOutgoing(size_t bytes);
  void NoteActivity();
  void TellSendReady();

  SendResult SendPart(internal::OutgoingMessage& message, absl::Span<const uint8_t> bytes,
                      bool last);
  void GiveUp(const internal::OutgoingMessage& message);
  SendResult SendBehind(Buffer frame);
  bool MayWait(size_t bytes);
  SendResult NoteWaiting();
  Ordered& ordered();
  void AdvanceOrdered();
  void AdvanceLater();
  void TellWhenFewWait();
  void DropOrdered();
  void FailSending(absl::Status status);

  void Fail(CloseCode code, absl::string_view why, absl::string_view option = {});
  void FailMessage(CloseCode code, absl::string_view why);
  void EndStream();
  void AwaitClose();
  void ArmTimer(absl::Duration after);
  void ArmDeadline();
  void OnTimer();
  void OnDeadline();
  void KeepAlive();
  bool QueueMoved();
  void DropExtras();
  std::string Peer() const;

  std::unique_ptr<Stream> stream_;
  Handler* handler_;
  Compression::SessionPtr compression_;
  std::unique_ptr<Extras> extras_;  // needed during handshakes, for keep-alive, and in trouble
  FrameDecoder decoder_;
  State state_ = State::kHandshake;
  bool owns_handler_ : 1;
  bool paused_ : 1;
  bool blocked_ : 1;       // the stream has answered kBlocked, and its OnSendReady has not come yet
  bool ready_owed_ : 1;    // and so have we to our user
  bool has_ordered_ : 1;   // a message in parts is being sent: Extras::ordered is there
  bool parts_wanted_ : 1;  // OnMessagePart instead of OnMessage
  bool heard_ : 1;         // something was received since the last look (keep-alive)
  bool close_sent_ : 1;
  bool close_received_ : 1;
  bool filling_ : 1;  // the stream was given a place in the decoder's memory
  // The pings and pongs of the last second of the loop's clock that had any, and which that was.
  uint16_t control_frames_ : 12;
  uint32_t control_second_ = 0;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_H_
