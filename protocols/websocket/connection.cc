#include "sluice/protocols/websocket/connection.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/internal/connection_state.h"
#include "sluice/protocols/websocket/internal/frame_encoding.h"
#include "sluice/protocols/websocket/internal/random.h"

namespace sluice::websocket {
namespace {

using internal::kCompressed;

constexpr size_t kMaxCloseReason = kMaxControlPayloadBytes - 2;
// Cut so that no character is cut.
absl::string_view CutReason(absl::string_view reason) {
  if (reason.size() <= kMaxCloseReason) return reason;
  size_t end = kMaxCloseReason;
  while (end > 0 && (static_cast<uint8_t>(reason[end]) & 0xc0) == 0x80) --end;
  return reason.substr(0, end);
}

// At random from zero up to it.
absl::Duration RandomPart(absl::Duration whole) {
  uint32_t random;
  internal::FillRandom(&random, sizeof(random));
  return whole * (random / 4294967296.0);
}

}  // namespace

void Handler::OnDrain(Connection& connection) { connection.Close(connection.options().drain.code); }

Connection::Connection(std::unique_ptr<Stream> stream, const Settings& settings, Handler& handler,
                       bool owns_handler)
    : stream_(std::move(stream)),
      handler_(&handler),
      decoder_(settings),
      owns_handler_(owns_handler),
      paused_(false),
      blocked_(false),
      ready_owed_(false),
      has_ordered_(false),
      parts_wanted_(false),
      heard_(false),
      close_sent_(false),
      close_received_(false),
      filling_(false),
      control_frames_(0) {}

Connection::~Connection() = default;

Connection::Extras& Connection::extras() {
  if (extras_ == nullptr) extras_ = std::make_unique<Extras>(*this);
  return *extras_;
}

void Connection::ArmTimer(absl::Duration after) {
  TimerNode& timer = extras().timer;
  timer.Cancel();
  if (after != absl::InfiniteDuration()) stream_->loop().ArmTimer(timer, after);
}

std::string Connection::Peer() const { return stream_->peer_address().ToString(); }

void Connection::SetHandler(Handler& handler) { ReplaceHandler(handler, false); }

void Connection::SetHandler(std::unique_ptr<Handler> handler) {
  ReplaceHandler(*handler.release(), true);
}

// It may be the old one that asks for this, in the middle of a callback.
void Connection::ReplaceHandler(Handler& handler, bool owned) {
  if (owns_handler_) stream_->loop().Post([old = std::unique_ptr<Handler>(handler_)] {});
  handler_ = &handler;
  owns_handler_ = owned;
}

// The opening handshake.

absl::string_view Connection::subprotocol() const {
  if (extras_ == nullptr) return "";
  if (extras_->server_handshake != nullptr) return extras_->server_handshake->subprotocol();
  if (extras_->client_handshake != nullptr) return extras_->client_handshake->subprotocol();
  return "";
}

void Connection::Shake(std::unique_ptr<ServerHandshake> handshake) {
  extras().server_handshake = std::move(handshake);
  BeginHandshake();
}

void Connection::Shake(std::unique_ptr<ClientHandshake> handshake) {
  extras().client_handshake = std::move(handshake);
  BeginHandshake();
}

void Connection::BeginHandshake() {
  ++counters().handshaking;
  ArmTimer(settings().options.handshake_timeout);
  if (extras_->client_handshake != nullptr) stream_->Send(extras_->client_handshake->request());
  stream_->SetHandler(*this);
}

// The first frames may follow the head at once.
void Connection::ContinueHandshake(absl::Span<uint8_t> bytes) {
  absl::Span<const uint8_t> rest = bytes;
  if (ServerHandshake* const server = extras_->server_handshake.get()) {
    const auto decide = [this](const HandshakeRequest& request, HandshakeReply& reply) {
      handler_->OnRequest(*this, request, reply);
    };
    std::string answer;
    const ServerHandshake::Result result = server->Read(rest, decide, answer);
    if (state_ == State::kEnded) return;  // OnRequest has aborted
    compression_ = server->TakeCompression();
    if (result == ServerHandshake::kNeedMore) return;
    stream_->Send(answer);
    if (result == ServerHandshake::kRefused) {
      extras_->handshake_end = Extras::HandshakeEnd::kRefused;
      extras_->failure = absl::FailedPreconditionError(absl::StrCat(
          Peer(), ": the opening handshake was refused with status ", server->status()));
      return EndStream();
    }
  } else {
    const absl::StatusOr<bool> open = extras_->client_handshake->Read(rest);
    if (open.ok() && !*open) return;
    if (!open.ok()) {
      extras_->handshake_end = Extras::HandshakeEnd::kRefused;
      extras_->failure = open.status();
      // There is nothing to send. A server that keeps the connection for a further request, as HTTP
      // servers do, would not end it soon.
      stream_->SetLingerTimeout(absl::ZeroDuration());
      return EndStream();
    }
  }
  if (extras_->client_handshake != nullptr)
    compression_ = extras_->client_handshake->TakeCompression();
  if (compression_ != nullptr) decoder_.AllowRsv(kCompressed);
  Opened();
  if (state_ != State::kEnded && !rest.empty())
    ReceiveFrames(bytes.last(rest.size()), /*lent=*/true);
}

void Connection::Opened() {
  state_ = State::kOpen;
  --counters().handshaking;
  ++counters().opened;
  ++counters().open;
  extras_->timer.Cancel();
  extras_->active_at = stream_->loop().now();
  handler_->OnOpen(*this);
  extras_->server_handshake = nullptr;
  extras_->client_handshake = nullptr;
  if (state_ != State::kOpen) return;
  extras_->keep_alive_at = stream_->loop().now() + options().ping_interval;
  ArmDeadline();
  DropExtras();
}

// Gives the extras back when nothing needs them.
void Connection::DropExtras() {
  if (extras_ == nullptr) return;
  const bool needed = state_ != State::kOpen || extras_->server_handshake != nullptr ||
                      extras_->client_handshake != nullptr || extras_->timer.armed() ||
                      extras_->release.armed() || !extras_->held.empty() || extras_->ping_waits ||
                      extras_->pong_queued || extras_->inflating != nullptr || has_ordered_;
  if (!needed) extras_ = nullptr;
}

// The end.

// Where the stream has no room even in its reserve, close_sent_ stays false.
void Connection::SendCloseFrame(CloseCode code, absl::string_view reason) {
  if (code == CloseCode::kNoStatus) {
    close_sent_ = SendControlFrame(Opcode::kClose, {}) != SendResult::kRefused;
    return;
  }
  uint8_t payload[kMaxControlPayloadBytes];
  payload[0] = static_cast<uint8_t>(static_cast<uint16_t>(code) >> 8);
  payload[1] = static_cast<uint8_t>(code);
  std::copy(reason.begin(), reason.end(), payload + 2);
  close_sent_ = SendControlFrame(Opcode::kClose, absl::MakeConstSpan(payload, 2 + reason.size())) !=
                SendResult::kRefused;
}

void Connection::Close(CloseCode code, absl::string_view reason) {
  if (state_ == State::kHandshake)
    return Abort(absl::CancelledError(absl::StrCat(Peer(), ": closed during the handshake")));
  if (state_ != State::kOpen) return;
  if (!MayBeSent(static_cast<uint16_t>(code)) && code != CloseCode::kNoStatus)
    code = CloseCode::kInternalError;
  reason = CutReason(reason);
  extras().close_code = code;
  extras().close_reason = std::string(reason);
  state_ = State::kClosing;
  DropOrdered();
  SendCloseFrame(code, reason);
  // The peer's close frame may stand behind messages that are held back or not received: they are
  // passed over.
  ResumeReceiving();
  AwaitClose();
}

void Connection::AwaitClose() {
  extras().queued = stream_->queued_bytes();
  ArmTimer(settings().options.close_timeout);
}

void Connection::Abort(absl::Status status) {
  if (state_ == State::kEnded && stream_->closing()) return;
  state_ = State::kEnded;
  DropOrdered();
  extras().timer.Cancel();
  if (extras_->failure.ok()) extras_->failure = status;
  stream_->Abort(std::move(status));
}

// `why` goes to the peer as the reason, and to our user with the peer's address and the option that
// is the limit.
void Connection::Fail(CloseCode code, absl::string_view why, absl::string_view option) {
  const std::string message = absl::StrCat(Peer(), ": ", why, option);
  extras().failure =
      option.empty() ? absl::InvalidArgumentError(message) : absl::ResourceExhaustedError(message);
  if (!close_sent_) {
    const absl::string_view reason = CutReason(why);
    extras_->close_code = code;
    extras_->close_reason = std::string(reason);
    SendCloseFrame(code, reason);
  }
  EndStream();
}

void Connection::FailMessage(CloseCode code, absl::string_view why) {
  if (code != CloseCode::kMessageTooBig) return Fail(code, why);
  Fail(code, why,
       absl::StrCat(" of ", settings().options.max_message_bytes, " bytes (max_message_bytes)"));
}

// What is queued still leaves.
void Connection::EndStream() {
  state_ = State::kEnded;
  DropOrdered();
  if (extras_ != nullptr) extras_->timer.Cancel();
  if (filling_) stream_->ReceiveInto({});  // after an error its memory is gone
  filling_ = false;
  stream_->Close();
}

void Connection::OnDrain(Stream& stream) {
  if (state_ == State::kHandshake) {
    extras().failure = absl::CancelledError(absl::StrCat(Peer(), ": the event loop drains"));
    return stream.Close();
  }
  if (state_ != State::kOpen) return;
  const absl::Duration spread = options().drain.spread;
  if (spread <= absl::ZeroDuration()) return handler_->OnDrain(*this);
  if (extras().drain_at != MonotonicTime::InfiniteFuture()) return;  // a second drain
  extras_->drain_at = stream.loop().now() + RandomPart(spread);
  ArmDeadline();
}

void Connection::CountEnd(const CloseInfo& info) {
  Counters& counters = this->counters();
  const bool shaking = extras_ != nullptr && (extras_->server_handshake != nullptr ||
                                              extras_->client_handshake != nullptr);
  if (!shaking) {
    --counters.open;
    Counters::Closed& closed = counters.closed[info.code];
    ++(info.by_peer ? closed.by_peer : closed.by_us);
    return;
  }
  --counters.handshaking;
  switch (extras_->handshake_end) {
    case Extras::HandshakeEnd::kTimedOut:
      ++counters.timed_out;
      return;
    case Extras::HandshakeEnd::kBrokenOff:
      ++counters.broken_off;
      return;
    case Extras::HandshakeEnd::kRefused:
      break;
  }
  if (const ServerHandshake* const server = extras_->server_handshake.get()) {
    ++counters.refused[server->status()];
    if (server->answered_by_application()) ++counters.refused_by_handler;
  } else {
    ++counters.refused[extras_->client_handshake->status()];
  }
}

void Connection::OnClose(Stream& /*stream*/, const absl::Status& status) {
  CloseInfo info;
  std::string reason;
  if (extras_ != nullptr) {
    info.code = extras_->close_code;
    info.by_peer = extras_->close_by_peer;
    info.status = extras_->failure;
    reason = std::move(extras_->close_reason);
  }
  info.reason = reason;
  info.clean = close_sent_ && close_received_ && info.status.ok();
  if (info.status.ok() && !info.clean) {
    info.status = !status.ok()
                      ? status
                      : absl::UnavailableError("the connection ended without a closing handshake");
  }
  state_ = State::kEnded;
  CountEnd(info);
  DropOrdered();
  if (ConnectionObserver* const observer = settings().options.observer)
    observer->OnClose(*this, info);
  handler_->OnClose(*this, info);
  const std::unique_ptr<Handler> given(owns_handler_ ? handler_ : nullptr);  // goes last
  delete this;
}

// Deadlines.

// An open connection's next.
void Connection::ArmDeadline() {
  const MonotonicTime next = std::min(
      {extras_->keep_alive_at, extras_->drain_at, extras_->active_at + options().idle_timeout});
  extras_->timer.Cancel();
  if (next != MonotonicTime::InfiniteFuture()) stream_->loop().ArmTimer(extras_->timer, next);
}

void Connection::OnDeadline() {
  const MonotonicTime now = stream_->loop().now();
  if (extras_->drain_at <= now) {
    extras_->drain_at = MonotonicTime::InfiniteFuture();
    ArmDeadline();
    DropExtras();
    return handler_->OnDrain(*this);
  }
  if (paused_) NoteActivity();
  const absl::Duration idle_timeout = options().idle_timeout;
  if (extras_->active_at + idle_timeout <= now && !QueueMoved()) {
    return Close(CloseCode::kGoingAway,
                 absl::StrCat("idle for ", absl::FormatDuration(idle_timeout)));
  }
  if (extras_->keep_alive_at <= now) KeepAlive();
  if (state_ == State::kOpen) ArmDeadline();
}

void Connection::OnTimer() {
  switch (state_) {
    case State::kHandshake:
      extras_->handshake_end = Extras::HandshakeEnd::kTimedOut;
      return Abort(absl::DeadlineExceededError(
          absl::StrCat(Peer(), ": the opening handshake was not complete within ",
                       absl::FormatDuration(settings().options.handshake_timeout))));
    case State::kOpen:
      return OnDeadline();
    case State::kClosing:
    case State::kEnded:
      // The close frame stands behind what is queued.
      if (QueueMoved()) return ArmTimer(settings().options.close_timeout);
      if (close_received_)
        return EndStream();  // a client that has waited for the server to end the connection
      return Abort(absl::DeadlineExceededError(
          absl::StrCat(Peer(), ": the peer did not answer the close frame within ",
                       absl::FormatDuration(settings().options.close_timeout))));
  }
}

// Whether the peer has taken something, or there was more to take, since the last time.
bool Connection::QueueMoved() {
  const size_t queued = stream_->queued_bytes();
  const size_t before = std::exchange(extras_->queued, queued);
  // So little may have been a ping or close frame of our own that had only been gathered.
  constexpr size_t kOwnFrame = kMaxFrameHeaderBytes + kMaxControlPayloadBytes;
  const bool moved = queued != before && (queued > 0 || before > kOwnFrame);
  if (moved) {
    heard_ = true;
    NoteActivity();
  }
  return moved;
}

void Connection::KeepAlive() {
  const ConnectionOptions& options = settings().options;
  // Bytes that wait because we do not read are a sign of life, too, but one that cannot be seen.
  const bool moved = QueueMoved();
  if (heard_ || paused_ || moved) {
    heard_ = false;
    extras_->awaiting_pong = false;
  } else if (extras_->awaiting_pong) {
    return Abort(
        absl::DeadlineExceededError(absl::StrCat(Peer(), ": the peer did not answer a ping within ",
                                                 absl::FormatDuration(options.pong_timeout))));
  } else {
    extras_->awaiting_pong = true;
    SendControlFrame(Opcode::kPing, {});
    extras_->queued = stream_->queued_bytes();  // our own ping is no move of the peer's
  }
  extras_->keep_alive_at = stream_->loop().now() +
                           (extras_->awaiting_pong ? options.pong_timeout : options.ping_interval);
}

}  // namespace sluice::websocket
