// A connection of the usp protocol over any Stream: messages (message_codec.h: the format, limits
// and errors), the heartbeat and, with a cipher, the handshake, as server and as client.
//
// Example, an echo server's accept function:
//
//   class Echo : public usp::Handler {
//     void OnMessage(usp::Connection& c, const usp::Message& message) override {
//       if (c.Send(message) == SendResult::kBlocked) c.PauseReceiving();
//     }
//     void OnSendReady(usp::Connection& c) override { c.ResumeReceiving(); }
//   };
//   Echo echo;  // outlives the loop
//   auto server = usp::Server::Create({});
//   auto on_accept = [&](std::unique_ptr<Stream> stream) {
//     (*server)->Serve(std::move(stream), echo);
//   };
//
// A client's is opened by usp::Client, over a stream that is connected.
//
// Heartbeat. A server sends a ping every ping_interval, which a client answers. Either side ends
// with kDeadlineExceeded when no message, ping or pong has come for heartbeat_timeout, while it
// wanted to receive: so a message has to arrive within that, too. Pings that come at once are
// answered once.
//
// Lifetime. A Connection belongs to itself: it lives from Serve or Open until Handler::OnClose has
// returned. Until then pointers to it are good. It ends through Close or Abort, the peer, a broken
// rule or limit, or a deadline; OnClose comes exactly once and last. The Server or Client that made
// it, and a handler that was not given away, must outlive it.
//
// Callbacks are made by the loop, never from inside a call on the connection. In a callback
// anything may be called.
//
// Sending queues, within the limits of the Stream (StreamLimits). The protocol has no message for
// an end: Close sends what is queued, and then ends the stream.
//
// Loop-bound.

#ifndef SLUICE_PROTOCOLS_USP_CONNECTION_H_
#define SLUICE_PROTOCOLS_USP_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/usp/cipher.h"
#include "sluice/protocols/usp/header.h"
#include "sluice/protocols/usp/message_codec.h"

namespace sluice::usp {

class Connection;

// What the user of a Connection implements.
class Handler {
 public:
  virtual ~Handler() = default;

  // Messages may be sent: at once without a cipher, else after the handshake.
  virtual void OnOpen(Connection& /*connection*/) {}

  // A text or binary message. Its header and body are lent until this returns.
  virtual void OnMessage(Connection& connection, const Message& message) = 0;

  // After a send that answered kBlocked: the queue has fallen to its low mark.
  virtual void OnSendReady(Connection& /*connection*/) {}

  // The loop is draining. The default closes gracefully.
  virtual void OnDrain(Connection& connection);

  // The last call. OK after a graceful end by either side; else why: the transport's failure, a
  // broken rule, limit or deadline.
  virtual void OnClose(Connection& /*connection*/, const absl::Status& /*status*/) {}
};

struct ConnectionOptions {
  MessageOptions message = {};
  // A server's: less than heartbeat_timeout. Infinite: no pings, and then a client of the original
  // ends.
  absl::Duration ping_interval = absl::Seconds(5);
  // Infinite: never.
  absl::Duration heartbeat_timeout = absl::Seconds(30);
  // From the stream's beginning to the end of the handshake, with a cipher.
  absl::Duration handshake_timeout = absl::Seconds(10);
  // Makes each connection's cipher: legacy_crypto.h. Empty: no encryption, and a peer that uses it
  // ends the connection. One that makes none ends it, too.
  std::function<std::unique_ptr<Cipher>()> make_cipher = nullptr;
};

class Connection final : private CodecHandler<MessageCodec> {
 public:
  // kRefused: before OnOpen, after Close, for a message that cannot be encoded (MessageCodec says
  // which; the connection lives on), and as Stream::Send says.
  SendResult SendText(absl::string_view text, absl::Span<const HeaderField> header = {});
  SendResult SendBinary(absl::Span<const uint8_t> bytes, absl::Span<const HeaderField> header = {});
  // A text or binary message; a received one, too.
  SendResult Send(const Message& message);

  // Sends what is queued and ends; no further message is delivered.
  void Close() { stream_->Close(); }
  // What is queued is sent, and nothing after it; messages are still delivered. Pings and pongs are
  // not sent either, so the heartbeat of either side ends a connection on which nothing comes.
  void ShutdownSend() { stream_->ShutdownSend(); }
  // Ends at once.
  void Abort(absl::Status status) { stream_->Abort(std::move(status)); }

  // Until resumed no OnMessage; the heartbeat's timeout stands still. Pings are not answered: the
  // peer may end meanwhile, by its own timeout.
  void PauseReceiving();
  void ResumeReceiving();

  // Whether messages can be sent.
  bool open() const { return opened_ && !stream_->closing(); }
  size_t queued_bytes() const { return stream_->queued_bytes(); }
  const ConnectionOptions& options() const { return options_; }
  // For addresses, limits, the loop, and whatever else its own class tells. Not for sending or
  // closing.
  Stream& stream() { return stream_->transport(); }

 private:
  friend class Server;
  friend class Client;

  enum class Role : uint8_t { kServer, kClient };
  using MessageStream = CodecStream<MessageCodec>;

  // The handler is given where `owned` is set.
  static Connection& Start(std::unique_ptr<Stream> stream, Role role,
                           const ConnectionOptions& options, const MessageCodec& codec,
                           Handler& handler, std::unique_ptr<Handler> owned);
  Connection(EventLoop& loop, Role role, const ConnectionOptions& options, Handler& handler,
             std::unique_ptr<Handler> owned);

  // CodecHandler:
  void OnMessage(MessageStream& stream, Message message) override;
  void OnSendReady(MessageStream& stream) override;
  void OnDrain(MessageStream& stream) override;
  void OnClose(MessageStream& stream, const absl::Status& status) override;

  void Begin();
  void Open();
  void TellOpened();
  void OnHandshake(absl::Span<const uint8_t> body);
  void SendHandshake(absl::string_view body);
  void SendControl(MessageType type);
  void AnswerPing();
  void KeepAlive();
  void CheckHeartbeat();
  absl::Duration Patience() const;

  EventLoop& loop_;
  const ConnectionOptions& options_;
  Handler& handler_;
  const std::unique_ptr<Handler> owned_handler_;
  const std::unique_ptr<Cipher> cipher_;
  MessageStream* stream_ = nullptr;
  Timer ping_timer_;
  Timer heartbeat_timer_;
  MonotonicTime heard_at_;
  MonotonicTime ponged_at_ = MonotonicTime::InfinitePast();
  const Role role_;
  bool opened_ = false;
  bool told_opened_ = false;
  bool paused_ = false;
};

// Makes connections of the streams that a listener accepts; all have its options. Loop-bound: one
// for each loop. It must outlive its connections.
class Server {
 public:
  // kInvalidArgument, which names the option, what it is and what is accepted.
  static absl::StatusOr<std::unique_ptr<Server>> Create(ConnectionOptions options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The handler is borrowed, or given and then destroyed after OnClose.
  Connection& Serve(std::unique_ptr<Stream> stream, Handler& handler) const;
  Connection& Serve(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const;

 private:
  Server(ConnectionOptions options, MessageCodec codec);

  const ConnectionOptions options_;
  const MessageCodec codec_;  // each connection's begins as a copy
};

// Makes connections over streams that are connected to a server. As Server.
class Client {
 public:
  static absl::StatusOr<std::unique_ptr<Client>> Create(ConnectionOptions options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Connection& Open(std::unique_ptr<Stream> stream, Handler& handler) const;
  Connection& Open(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const;

 private:
  Client(ConnectionOptions options, MessageCodec codec);

  const ConnectionOptions options_;
  const MessageCodec codec_;
};

}  // namespace sluice::usp

#endif  // SLUICE_PROTOCOLS_USP_CONNECTION_H_
