#include "sluice/protocols/usp/connection.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/usp/cipher.h"
#include "sluice/protocols/usp/header.h"
#include "sluice/protocols/usp/message_codec.h"

namespace sluice::usp {
namespace {

absl::Status CheckDuration(absl::string_view name, absl::Duration value) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", absl::FormatDuration(value), "; accepted: more than zero"));
}

// The codec that connections with these options begin with.
absl::StatusOr<MessageCodec> CheckedCodec(const ConnectionOptions& options) {
  for (const absl::Status& status :
       {CheckDuration("ping_interval", options.ping_interval),
        CheckDuration("heartbeat_timeout", options.heartbeat_timeout),
        CheckDuration("handshake_timeout", options.handshake_timeout)}) {
    if (!status.ok()) return status;
  }
  return MessageCodec::Create(options.message);
}

std::unique_ptr<Cipher> MakeCipher(const ConnectionOptions& options) {
  return options.make_cipher ? options.make_cipher() : nullptr;
}

}  // namespace

void Handler::OnDrain(Connection& connection) { connection.Close(); }

Connection::Connection(EventLoop& loop, Role role, const ConnectionOptions& options,
                       Handler& handler, std::unique_ptr<Handler> owned)
    : loop_(loop),
      options_(options),
      handler_(handler),
      owned_handler_(std::move(owned)),
      cipher_(MakeCipher(options)),
      ping_timer_([this] { KeepAlive(); }),
      heartbeat_timer_([this] { CheckHeartbeat(); }),
      heard_at_(loop.now()),
      role_(role) {}

Connection& Connection::Start(std::unique_ptr<Stream> stream, Role role,
                              const ConnectionOptions& options, const MessageCodec& codec,
                              Handler& handler, std::unique_ptr<Handler> owned) {
  EventLoop& loop = stream->loop();
  auto* const connection = new Connection(loop, role, options, handler, std::move(owned));
  MessageCodec own = codec;
  own.set_cipher(connection->cipher_.get());
  connection->stream_ = &MessageStream::Run(
      std::move(stream), std::move(own), std::unique_ptr<CodecHandler<MessageCodec>>(connection));
  connection->Begin();
  return *connection;
}

// The beginning, and the handshake.

void Connection::Begin() {
  loop_.ArmTimer(heartbeat_timer_, Patience());
  if (cipher_ == nullptr) {
    // Nothing is sent in the clear because there was no cipher.
    if (options_.make_cipher) return Abort(absl::InternalError("make_cipher has made no cipher"));
    return Open();
  }
  absl::StatusOr<std::optional<std::string>> first = cipher_->Begin();
  if (!first.ok()) return Abort(first.status());
  if (first->has_value()) SendHandshake(**first);
}

// Its handler hears of it from the loop. No message comes before that: OnOpen may pause.
void Connection::Open() {
  opened_ = true;
  stream_->PauseReceiving();
  heard_at_ = loop_.now();
  loop_.ArmTimer(heartbeat_timer_, Patience());
  loop_.ArmTimer(ping_timer_, absl::ZeroDuration());
}

void Connection::TellOpened() {
  told_opened_ = true;
  if (!paused_) stream_->ResumeReceiving();
  handler_.OnOpen(*this);
}

void Connection::OnHandshake(absl::Span<const uint8_t> body) {
  absl::StatusOr<std::optional<std::string>> answer = cipher_->OnHandshake(body);
  if (!answer.ok()) return Abort(answer.status());
  if (answer->has_value()) SendHandshake(**answer);
  if (cipher_->ready() && !opened_) Open();
}

void Connection::SendHandshake(absl::string_view body) {
  stream_->Send(Message{.type = MessageType::kHandshake, .body = AsBytes(body)});
}

// Messages.

void Connection::OnMessage(MessageStream& /*stream*/, Message message) {
  if (opened_) heard_at_ = loop_.now();
  switch (message.type) {
    case MessageType::kPing:
      return AnswerPing();
    case MessageType::kPong:
      return;
    case MessageType::kHandshake:
      return OnHandshake(message.body);
    case MessageType::kText:
    case MessageType::kBinary:
      handler_.OnMessage(*this, message);
  }
}

SendResult Connection::Send(const Message& message) {
  const bool control = message.type > MessageType::kBinary;
  return control || !opened_ ? SendResult::kRefused : stream_->Send(message);
}

SendResult Connection::SendText(absl::string_view text, absl::Span<const HeaderField> header) {
  return Send(Message{.header = header, .body = AsBytes(text)});
}

SendResult Connection::SendBinary(absl::Span<const uint8_t> bytes,
                                  absl::Span<const HeaderField> header) {
  return Send(Message{.type = MessageType::kBinary, .header = header, .body = bytes});
}

// The heartbeat.

// Past the hard limit there is a reserve, and past that the peer does not read: it will not miss
// it.
void Connection::SendControl(MessageType type) {
  Buffer frame;
  (void)stream_->codec().Encode(Message{.type = type}, frame);
  (void)stream().SendControl(frame.front());
}

void Connection::AnswerPing() {
  const MonotonicTime now = loop_.now();
  if (ponged_at_ == now) return;
  ponged_at_ = now;
  SendControl(MessageType::kPong);
}

// Is also what tells the handler that the connection is open.
void Connection::KeepAlive() {
  if (stream_->closing()) return;
  const bool begins = !told_opened_;
  if (begins) TellOpened();
  if (role_ == Role::kClient || stream_->closing()) return;
  if (!begins) SendControl(MessageType::kPing);
  loop_.ArmTimer(ping_timer_, options_.ping_interval);
}

absl::Duration Connection::Patience() const {
  return opened_ ? options_.heartbeat_timeout : options_.handshake_timeout;
}

void Connection::CheckHeartbeat() {
  if (stream_->closing()) return;
  const MonotonicTime now = loop_.now();
  if (opened_ && stream_->receiving_paused()) heard_at_ = now;
  const absl::Duration left = heard_at_ + Patience() - now;
  if (left > absl::ZeroDuration()) return loop_.ArmTimer(heartbeat_timer_, left);
  Abort(absl::DeadlineExceededError(
      absl::StrCat(stream().peer_address().ToString(), ": ",
                   opened_ ? "nothing was received for " : "no handshake within ",
                   absl::FormatDuration(Patience()))));
}

// Before OnOpen they only tell what is to be then: a handshake has to come in.
void Connection::PauseReceiving() {
  paused_ = true;
  if (told_opened_) stream_->PauseReceiving();
}

void Connection::ResumeReceiving() {
  paused_ = false;
  if (!told_opened_) return;
  heard_at_ = loop_.now();
  stream_->ResumeReceiving();
}

// The rest of what the loop tells.

void Connection::OnSendReady(MessageStream& /*stream*/) { handler_.OnSendReady(*this); }
void Connection::OnDrain(MessageStream& /*stream*/) { handler_.OnDrain(*this); }
void Connection::OnClose(MessageStream& /*stream*/, const absl::Status& status) {
  handler_.OnClose(*this, status);
}

// Servers and clients.

Server::Server(ConnectionOptions options, MessageCodec codec)
    : options_(std::move(options)), codec_(std::move(codec)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Create(ConnectionOptions options) {
  // Else a client that has nothing to say, and answers each ping, would be taken for dead.
  if (options.ping_interval >= options.heartbeat_timeout &&
      options.ping_interval != absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("ping_interval is ", absl::FormatDuration(options.ping_interval),
                     "; accepted: less than heartbeat_timeout, which is ",
                     absl::FormatDuration(options.heartbeat_timeout), ", or infinite"));
  }
  absl::StatusOr<MessageCodec> codec = CheckedCodec(options);
  if (!codec.ok()) return codec.status();
  return std::unique_ptr<Server>(new Server(std::move(options), *std::move(codec)));
}

Connection& Server::Serve(std::unique_ptr<Stream> stream, Handler& handler) const {
  return Connection::Start(std::move(stream), Connection::Role::kServer, options_, codec_, handler,
                           nullptr);
}

Connection& Server::Serve(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const {
  Handler& borrowed = *handler;
  return Connection::Start(std::move(stream), Connection::Role::kServer, options_, codec_, borrowed,
                           std::move(handler));
}

Client::Client(ConnectionOptions options, MessageCodec codec)
    : options_(std::move(options)), codec_(std::move(codec)) {}

absl::StatusOr<std::unique_ptr<Client>> Client::Create(ConnectionOptions options) {
  absl::StatusOr<MessageCodec> codec = CheckedCodec(options);
  if (!codec.ok()) return codec.status();
  return std::unique_ptr<Client>(new Client(std::move(options), *std::move(codec)));
}

Connection& Client::Open(std::unique_ptr<Stream> stream, Handler& handler) const {
  return Connection::Start(std::move(stream), Connection::Role::kClient, options_, codec_, handler,
                           nullptr);
}

Connection& Client::Open(std::unique_ptr<Stream> stream, std::unique_ptr<Handler> handler) const {
  Handler& borrowed = *handler;
  return Connection::Start(std::move(stream), Connection::Role::kClient, options_, codec_, borrowed,
                           std::move(handler));
}

}  // namespace sluice::usp
