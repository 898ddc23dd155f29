#include "sluice/protocols/websocket/connection.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/internal/frame_encoding.h"
#include "sluice/protocols/websocket/internal/outgoing_messages.h"
#include "sluice/protocols/websocket/internal/random.h"
#include "sluice/protocols/websocket/utf8.h"

namespace sluice::websocket {
namespace {

using internal::AsBytes;
using internal::EncodeFrame;
using internal::kCompressed;

// Up to here a frame is put together on the stack and copied into the stream's queue; larger ones
// are written once.
constexpr size_t kSmallPayload = 2048;
// A message that was gathered is handed over with its memory from here on; below, copying is
// cheaper.
constexpr size_t kLargePayload = 4096;
// Behind more than this there is one pong at a time: the next one waits until the peer has come to
// it, and stands for all pings since.
constexpr size_t kPongQueueBytes = 4096;
// How soon to look again whether the peer has read.
constexpr absl::Duration kPongRetry = absl::Milliseconds(100);
// So much is read from sources in one turn, for others to have theirs.
constexpr size_t kSourceBudget = 256 * 1024;
constexpr size_t kMaxCloseReason = kMaxControlPayloadBytes - 2;
// Of pings and pongs in a second: what its 12 bits can count to.
constexpr uint16_t kMaxControlFrames = 4095;

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

// While a message in parts is being sent.
struct Connection::Ordered {
  explicit Ordered(Connection& connection)
      : messages(connection.role()), turn([&connection] { connection.AdvanceOrdered(); }) {}

  internal::OutgoingMessages messages;
  Timer turn;  // there is more to do, by the loop
};

// A compressed message that is delivered in parts.
struct Connection::Inflating {
  std::unique_ptr<Compression::Session::Decompression> decompression;
  MessagePart part = {};
  Utf8Validator utf8 = {};
  // Receiving was paused within it, before this was decompressed.
  bool paused = false;
  std::vector<uint8_t> held = {};
  bool held_last = false;
};

// What only few connections need at a time.
struct Connection::Extras {
  explicit Extras(Connection& connection)
      : timer([&connection] { connection.OnTimer(); }),
        release([&connection] { connection.ReleaseHeld(); }),
        pong([&connection] { connection.AnswerPing(); }) {}

  std::unique_ptr<ServerHandshake> server_handshake;  // until OnOpen has returned, one of them
  std::unique_ptr<ClientHandshake> client_handshake;
  Timer timer;    // the deadline of the handshake or of the close, or the next of an open one's
  Timer release;  // held bytes are delivered when it runs: never from inside ResumeReceiving
  Timer pong;     // while a ping waits or a pong is queued
  std::vector<uint8_t> held;
  MonotonicTime keep_alive_at = MonotonicTime::InfiniteFuture();
  MonotonicTime drain_at = MonotonicTime::InfiniteFuture();
  MonotonicTime active_at;  // when a message came or went last
  size_t queued = 0;        // by the stream, when OnTimer looked last
  bool awaiting_pong = false;
  bool pong_queued = false;  // behind more than kPongQueueBytes, and perhaps still so
  bool ping_waits = false;   // a ping that could not be answered yet, and its payload
  std::vector<uint8_t> ping;
  size_t since_pong = 0;  // bytes of messages sent since then
  std::unique_ptr<Ordered> ordered;
  size_t dropped = 0;  // what waited in it when the end came
  std::unique_ptr<Inflating> inflating;
  enum class HandshakeEnd : uint8_t { kBrokenOff, kRefused, kTimedOut };
  HandshakeEnd handshake_end = HandshakeEnd::kBrokenOff;  // if it fails
  // The first close frame.
  CloseCode close_code = CloseCode::kAbnormal;
  std::string close_reason;
  bool close_by_peer = false;
  absl::Status failure;
};

// The message that OnMessage is being called with.
struct Connection::Delivery {
  Delivery(const Connection& c, const FrameDecoder::Event& e, bool l)
      : connection(&c), event(e), lent(l) {}

  const Connection* const connection;
  const FrameDecoder::Event& event;
  const bool lent;            // it lies in what the Stream lends
  mutable Slice taken;        // keeps the payload's memory, once it was sent with it
  mutable bool used = false;  // its room holds a header already
};

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

// Null while no OnMessage of this connection runs.
const Connection::Delivery* Connection::delivery() const {
  const Delivery* const current = settings().delivery;
  return current != nullptr && current->connection == this ? current : nullptr;
}

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

// Receiving.

void Connection::OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) {
  heard_ = true;
  if (ABSL_PREDICT_TRUE(state_ == State::kOpen || state_ == State::kClosing))
    return ReceiveFrames(bytes, /*lent=*/true);
  if (state_ == State::kEnded) return;
  ContinueHandshake(bytes);
}

void Connection::ReceiveFrames(absl::Span<uint8_t> bytes, bool lent) {
  const std::less<const uint8_t*> below;
  FrameDecoder::Input input{bytes.data(), bytes.data() + bytes.size(), bytes.data()};
  while (state_ != State::kEnded) {
    if (ABSL_PREDICT_FALSE(paused_)) return Hold(absl::MakeSpan(input.begin, input.end));
    const FrameDecoder::Event event = decoder_.Next(input);
    if (ABSL_PREDICT_TRUE(event.kind == FrameDecoder::Event::kMessage)) {
      // What came in parts lies in memory of the decoder's.
      DeliverMessage(event, lent && !below(event.payload, bytes.data()) &&
                                below(event.payload, bytes.data() + bytes.size()));
    } else if (event.kind == FrameDecoder::Event::kPart) {
      DeliverPart(event);
    } else if (event.kind == FrameDecoder::Event::kNeedMore) {
      if (ABSL_PREDICT_FALSE(filling_ || !decoder_.idle())) ReceiveInPlace();
      return;
    } else {
      DeliverControl(event);
    }
  }
}

// A message came or went, or part of one.
void Connection::NoteActivity() {
  if (ABSL_PREDICT_FALSE(extras_ != nullptr)) extras_->active_at = stream_->loop().now();
}

// The stream puts the rest of a long payload into its place itself.
void Connection::ReceiveInPlace() {
  NoteActivity();
  const absl::Span<uint8_t> space = decoder_.ReceiveSpace();
  if (!filling_ && space.empty()) return;
  filling_ = !space.empty();
  stream_->ReceiveInto(space);
}

// False for one too many.
bool Connection::CountControlFrame() {
  const uint16_t limit =
      std::min(settings().options.max_control_frames_per_second, kMaxControlFrames);
  if (limit == 0) return true;
  const auto second = static_cast<uint32_t>(stream_->loop().now().nanoseconds() /
                                            absl::ToInt64Nanoseconds(absl::Seconds(1)));
  if (std::exchange(control_second_, second) != second) control_frames_ = 0;
  if (control_frames_ == limit) return false;
  ++control_frames_;
  return true;
}

void Connection::DeliverControl(const FrameDecoder::Event& event) {
  switch (event.kind) {
    case FrameDecoder::Event::kPing:
    case FrameDecoder::Event::kPong:
      if (!CountControlFrame()) {
        return Fail(CloseCode::kPolicyViolation,
                    absl::StrCat("more than ", control_frames_, " pings and pongs in a second"),
                    " (max_control_frames_per_second)");
      }
      ++(event.kind == FrameDecoder::Event::kPing ? counters().in.pings : counters().in.pongs);
      if (event.kind == FrameDecoder::Event::kPing) return DeliverPing(event.bytes());
      if (state_ == State::kOpen) handler_->OnPong(*this, event.bytes());
      return;
    case FrameDecoder::Event::kClose:
      return OnPeersClose(event);
    case FrameDecoder::Event::kError:
      return FailMessage(event.code, event.error);
    case FrameDecoder::Event::kMessage:
    case FrameDecoder::Event::kPart:
    case FrameDecoder::Event::kNeedMore:
      return;  // seen to by the caller
  }
}

void Connection::DeliverMessage(const FrameDecoder::Event& event, bool lent) {
  if (state_ != State::kOpen) return;  // after Close nothing is delivered
  NoteActivity();
  if (ABSL_PREDICT_FALSE(parts_wanted_)) return DeliverPart(event);
  if (ABSL_PREDICT_FALSE(event.rsv != 0)) return DeliverCompressed(event);
  const Delivery current(*this, event, lent);
  const Settings& shared = settings();
  ++shared.counters.in.messages;
  shared.counters.in.bytes += event.size;
  shared.delivery = &current;
  handler_->OnMessage(*this, Message{event.is_text, event.bytes()});
  shared.delivery = nullptr;
}

// It lies in the compressor's memory, and is sent in place by a copy.
void Connection::DeliverCompressed(const FrameDecoder::Event& event) {
  const Compression::Session::Message message =
      compression_->Decompress(event.bytes(), settings().options.max_message_bytes);
  if (message.error != nullptr) return FailMessage(message.code, message.error);
  if (event.is_text && !IsValidUtf8(message.bytes))
    return Fail(CloseCode::kInvalidPayload, "a text message is not UTF-8");
  Counters::Traffic& in = counters().in;
  ++in.messages;
  in.bytes += message.bytes.size();
  ++in.compressed_messages;
  in.plain_bytes += message.bytes.size();
  in.compressed_bytes += event.size;
  handler_->OnMessage(*this, Message{event.is_text, message.bytes});
}

void Connection::ReceiveInParts(bool in_parts) {
  parts_wanted_ = in_parts;
  decoder_.DeliverInParts(in_parts);
}

void Connection::DeliverPart(const FrameDecoder::Event& event) {
  if (state_ != State::kOpen) return;
  NoteActivity();
  if (event.rsv == 0) {
    CountPart(event.size, event.last);
    return handler_->OnMessagePart(
        *this, MessagePart{event.is_text, event.first, event.last, event.bytes()});
  }
  if (event.first) {
    extras().inflating = std::make_unique<Inflating>(
        Inflating{compression_->StartDecompression(settings().options.max_message_bytes)});
    extras_->inflating->part.is_text = event.is_text;
    extras_->inflating->part.first = true;
  }
  counters().in.compressed_bytes += event.size;
  Inflate(event.bytes(), event.last);
}

void Connection::CountPart(size_t bytes, bool last) {
  if (last) ++counters().in.messages;
  counters().in.bytes += bytes;
}

// Delivers what `compressed` comes to, piece by piece, as long as it is wanted.
void Connection::Inflate(absl::Span<const uint8_t> compressed, bool last) {
  Inflating& inflating = *extras_->inflating;  // which stays until its message ends
  while (state_ == State::kOpen) {
    if (paused_) {
      inflating.paused = true;
      inflating.held.assign(compressed.begin(), compressed.end());
      inflating.held_last = last;
      return;
    }
    const auto message = inflating.decompression->Next(compressed, last);
    if (message.error != nullptr) return FailMessage(message.code, message.error);
    MessagePart part = inflating.part;
    part.payload = message.bytes;
    part.last = last && message.bytes.empty();
    if (message.bytes.empty() && !last) return;
    if (part.is_text &&
        !(inflating.utf8.Update(message.bytes) && (!part.last || inflating.utf8.complete()))) {
      return Fail(CloseCode::kInvalidPayload, "a text message is not UTF-8");
    }
    inflating.part.first = false;
    CountPart(part.payload.size(), part.last);
    Counters::Traffic& in = counters().in;
    in.plain_bytes += part.payload.size();
    if (part.last) ++in.compressed_messages;
    if (part.last) extras_->inflating = nullptr;
    handler_->OnMessagePart(*this, part);
    if (part.last) return DropExtras();
  }
}

// A peer that pings and does not read has one pong queued and gets one more when it has read that:
// RFC 6455 section 5.5.3 asks for the latest only.
void Connection::DeliverPing(absl::Span<const uint8_t> payload) {
  if (state_ != State::kOpen) return;
  if (!blocked_ && stream_->queued_bytes() <= kPongQueueBytes) {
    if (extras_ != nullptr) extras_->ping_waits = false;
    SendControlFrame(Opcode::kPong, payload);
  } else {
    extras().ping.assign(payload.begin(), payload.end());
    // What is queued may only have been gathered: look again when this callback's has left.
    if (!std::exchange(extras_->ping_waits, true)) ArmPong(absl::ZeroDuration());
  }
  handler_->OnPing(*this, payload);
}

void Connection::ArmPong(absl::Duration after) {
  extras_->pong.Cancel();
  stream_->loop().ArmTimer(extras_->pong, after);
}

void Connection::AnswerPing() {
  if (state_ != State::kOpen) return;
  if (extras_->ping_waits && MayPong()) SendPong();
  if (extras_->ping_waits || stream_->queued_bytes() > kPongQueueBytes) return ArmPong(kPongRetry);
  extras_->pong_queued = false;
  DropExtras();
}

// All that is queued was sent after the last pong: so that has left.
bool Connection::MayPong() const {
  const size_t queued = stream_->queued_bytes();
  if (!extras_->pong_queued) return !blocked_ || queued > kPongQueueBytes;
  return queued <= extras_->since_pong || (!blocked_ && queued <= kPongQueueBytes);
}

// Where the stream has no room even in its reserve, the ping waits on.
void Connection::SendPong() {
  if (SendControlFrame(Opcode::kPong, extras_->ping) == SendResult::kRefused) return;
  extras_->ping_waits = false;
  extras_->pong_queued = stream_->queued_bytes() > kPongQueueBytes;
  extras_->since_pong = 0;
}

void Connection::OnPeersClose(const FrameDecoder::Event& event) {
  close_received_ = true;
  if (!close_sent_) {
    extras().close_code = event.code;
    extras().close_reason = std::string(event.text());
    extras().close_by_peer = true;
    SendCloseFrame(event.code, "");
  }
  // The server ends the connection, the client waits for that: RFC 6455 section 7.1.1.
  if (role() == Role::kServer) return EndStream();
  state_ = State::kEnded;
  DropOrdered();
  AwaitClose();
}

void Connection::OnReceiveEnd(Stream& /*stream*/) {
  if (state_ == State::kHandshake) {
    extras().failure = absl::UnavailableError(
        absl::StrCat(Peer(), ": the peer ended the connection during the handshake"));
    // A client has nothing to say any more that were worth waiting for.
    if (role() == Role::kClient) stream_->SetLingerTimeout(absl::ZeroDuration());
  }
  EndStream();
}

void Connection::PauseReceiving() {
  paused_ = true;
  stream_->PauseReceiving();
}

void Connection::ResumeReceiving() {
  if (!paused_) return;
  paused_ = false;
  NoteActivity();
  const bool holds = extras_ != nullptr && (!extras_->held.empty() || HoldsCompressed());
  if (!holds) return stream_->ResumeReceiving();
  stream_->loop().ArmTimer(extras_->release, absl::ZeroDuration());
}

void Connection::Hold(absl::Span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  extras().held.assign(bytes.begin(), bytes.end());
}

bool Connection::HoldsCompressed() const {
  return extras_->inflating != nullptr && extras_->inflating->paused;
}

void Connection::ReleaseHeld() {
  if (paused_) return;
  if (HoldsCompressed()) {
    extras_->inflating->paused = false;
    const std::vector<uint8_t> compressed = std::move(extras_->inflating->held);
    Inflate(compressed, extras_->inflating->held_last);
    if (paused_ || state_ == State::kEnded) return;
  }
  if (extras_ != nullptr && !extras_->held.empty()) {
    std::vector<uint8_t> held = std::move(extras_->held);
    extras_->held.clear();
    ReceiveFrames(absl::MakeSpan(held), /*lent=*/false);
  }
  DropExtras();
  if (!paused_) stream_->ResumeReceiving();
}

// Sending.

// Remembers whether the queue is above its high mark, and that the user was told so.
SendResult Connection::Note(SendResult result) {
  if (ABSL_PREDICT_FALSE(result == SendResult::kBlocked)) blocked_ = ready_owed_ = true;
  return result;
}

// The same for what is sent by ourselves.
SendResult Connection::NoteOwn(SendResult result) {
  if (result == SendResult::kBlocked) blocked_ = true;
  return result;
}

// The same of a message, or part of one, with its size as it is sent.
SendResult Connection::NoteMessage(SendResult result, size_t bytes) {
  if (result != SendResult::kRefused) NoteOutgoing(bytes);
  return Note(result);
}

void Connection::CountParts(uint64_t messages, uint64_t bytes) {
  counters().out.messages += messages;
  counters().out.bytes += bytes;
}

void Connection::NoteOutgoing(size_t bytes) {
  if (ABSL_PREDICT_TRUE(extras_ == nullptr)) return;
  extras_->since_pong += bytes;
  extras_->active_at = stream_->loop().now();
}

SendResult Connection::Refused() {
  ++counters().sends_refused;
  return SendResult::kRefused;
}

// A message: `bytes` of payload, and to how many they were compressed, if they were.
inline SendResult Connection::CountMessage(SendResult result, size_t bytes,
                                           size_t compressed_bytes) {
  if (ABSL_PREDICT_FALSE(result == SendResult::kRefused)) return Refused();
  Counters::Traffic& out = counters().out;
  ++out.messages;
  out.bytes += bytes;
  if (ABSL_PREDICT_TRUE(compressed_bytes == 0)) return result;
  ++out.compressed_messages;
  out.plain_bytes += bytes;
  out.compressed_bytes += compressed_bytes;
  return result;
}

SendResult Connection::SendFrame(Opcode opcode, absl::Span<const uint8_t> payload) {
  if (state_ != State::kOpen) return Refused();
  const size_t bytes = payload.size();
  size_t compressed_bytes = 0;
  uint8_t rsv = 0;
  if (ABSL_PREDICT_FALSE(compression_ != nullptr)) {
    const absl::Span<const uint8_t> compressed = compression_->Compress(payload);
    if (!compressed.empty()) {
      payload = compressed;
      compressed_bytes = compressed.size();
      rsv = kCompressed;
    }
  }
  if (ABSL_PREDICT_FALSE(has_ordered_)) {
    return CountMessage(SendBehind(EncodeFrame(role(), {opcode, rsv}, payload)), bytes,
                        compressed_bytes);
  }
  if (payload.size() > kSmallPayload) {
    const SendResult result = stream_->Send(EncodeFrame(role(), {opcode, rsv}, payload));
    return CountMessage(NoteMessage(result, payload.size()), bytes, compressed_bytes);
  }
  uint8_t frame[kMaxFrameHeaderBytes + kSmallPayload];
  const SendResult result =
      stream_->Send(absl::MakeConstSpan(frame, EncodeFrame(role(), {opcode, rsv}, payload, frame)));
  return CountMessage(NoteMessage(result, payload.size()), bytes, compressed_bytes);
}

SendResult Connection::SendText(absl::string_view text) {
  return SendFrame(Opcode::kText, AsBytes(text));
}

SendResult Connection::SendBinary(absl::Span<const uint8_t> bytes) {
  return SendFrame(Opcode::kBinary, bytes);
}

SendResult Connection::Send(const PreparedMessage& message) {
  if (state_ != State::kOpen) return Refused();
  if (role() == Role::kClient) return SendFrame(message.opcode_, message.payload());
  const bool compressed = compression_ != nullptr && !message.compressed_.empty() &&
                          compression_->MaySendAlone(message.payload_bytes_);
  const Slice& frame = compressed ? message.compressed_ : message.frame_;
  const size_t compressed_bytes = compressed ? message.compressed_bytes_ : 0;
  if (ABSL_PREDICT_TRUE(!has_ordered_)) {
    return CountMessage(NoteMessage(stream_->Send(frame), frame.size()), message.payload_bytes_,
                        compressed_bytes);
  }
  Buffer behind;
  behind.Append(frame);
  return CountMessage(SendBehind(std::move(behind)), message.payload_bytes_, compressed_bytes);
}

SendResult Connection::SendInPlace(const Message& message) {
  const Opcode opcode = message.is_text ? Opcode::kText : Opcode::kBinary;
  const absl::Span<const uint8_t> payload = message.payload;
  const Delivery* const current = delivery();
  const size_t header_bytes = FrameHeaderBytes(payload.size());
  const bool in_place = current != nullptr && !current->used && role() == Role::kServer &&
                        state_ == State::kOpen && payload.data() == current->event.payload &&
                        payload.size() <= current->event.size && compression_ == nullptr &&
                        !has_ordered_ && header_bytes <= current->event.room;
  if (!in_place) return SendFrame(opcode, payload);
  current->used = true;
  uint8_t* const begin = current->event.payload - header_bytes;
  EncodeFrameHeader({.opcode = opcode, .payload_bytes = payload.size()}, begin);
  const auto frame = absl::MakeConstSpan(begin, header_bytes + payload.size());
  const size_t bytes = payload.size();
  if (ABSL_PREDICT_TRUE(current->lent))
    return CountMessage(NoteMessage(stream_->SendLent(frame), bytes), bytes);
  if (payload.size() >= kLargePayload) {
    if (const BlockPtr memory = decoder_.TakeStorage()) {
      current->taken = Slice::FromBlock(*memory, frame);
      return CountMessage(NoteMessage(stream_->Send(current->taken), bytes), bytes);
    }
  }
  return CountMessage(NoteMessage(stream_->Send(frame), bytes), bytes);
}

SendResult Connection::SendControlFrame(Opcode opcode, absl::Span<const uint8_t> payload) {
  uint8_t frame[kMaxFrameHeaderBytes + kMaxControlPayloadBytes];
  payload = payload.first(std::min(payload.size(), kMaxControlPayloadBytes));
  const SendResult result = NoteOwn(stream_->SendControl(
      absl::MakeConstSpan(frame, EncodeFrame(role(), {opcode}, payload, frame))));
  if (result == SendResult::kRefused) return result;
  if (opcode == Opcode::kPing) ++counters().out.pings;
  if (opcode == Opcode::kPong) ++counters().out.pongs;
  return result;
}

SendResult Connection::SendPing(absl::Span<const uint8_t> payload) {
  return state_ == State::kOpen ? Note(SendControlFrame(Opcode::kPing, payload))
                                : SendResult::kRefused;
}

void Connection::OnSendReady(Stream& /*stream*/) {
  blocked_ = false;
  if (state_ == State::kClosing && !close_sent_)
    return SendCloseFrame(extras_->close_code, extras_->close_reason);
  if (state_ != State::kOpen) return;
  if (extras_ != nullptr && extras_->ping_waits) SendPong();
  if (ABSL_PREDICT_FALSE(has_ordered_)) return AdvanceOrdered();
  TellSendReady();
}

void Connection::TellSendReady() {
  if (!ready_owed_) return;
  ready_owed_ = false;
  if (ConnectionObserver* const observer = settings().options.observer) {
    observer->OnSendReady(*this);
    if (state_ != State::kOpen) return;
  }
  handler_->OnSendReady(*this);
}

size_t Connection::queued_bytes() const {
  if (ABSL_PREDICT_TRUE(extras_ == nullptr)) return stream_->queued_bytes();
  return stream_->queued_bytes() + extras_->dropped +
         (has_ordered_ ? extras_->ordered->messages.waiting_bytes() : 0);
}

// Messages in parts, and what waits behind them.

Connection::Ordered& Connection::ordered() {
  if (!has_ordered_) extras().ordered = std::make_unique<Ordered>(*this);
  has_ordered_ = true;
  return *extras_->ordered;
}

void Connection::DropOrdered() {
  if (!has_ordered_) return;
  extras_->dropped += extras_->ordered->messages.waiting_bytes();
  has_ordered_ = false;  // first: sources may call the connection when they go
  extras_->ordered = nullptr;
}

MessageWriter Connection::StartMessage(MessageType type) {
  if (state_ != State::kOpen) return MessageWriter();
  return MessageWriter(ordered().messages.Start(*this, type));
}

SendResult Connection::SendFrom(MessageType type, std::unique_ptr<MessageSource> source) {
  if (state_ != State::kOpen) return Refused();
  ordered().messages.Start(*this, type, std::move(source));
  AdvanceLater();
  return SendResult::kSent;
}

SendResult Connection::SendPart(internal::OutgoingMessage& message, absl::Span<const uint8_t> bytes,
                                bool last) {
  if (state_ != State::kOpen) return Refused();
  if (bytes.empty() && !last) return SendResult::kSent;
  internal::OutgoingMessages& messages = extras_->ordered->messages;
  if (!messages.IsFirst(message) || !message.waiting.empty()) {
    if (!MayWait(kMaxFrameHeaderBytes + bytes.size())) return Refused();
    messages.Wait(message, messages.EncodePart(message, bytes, last));
    CountParts(last ? 1 : 0, bytes.size());
    return NoteWaiting();
  }
  const SendResult result =
      NoteMessage(stream_->Send(messages.EncodePart(message, bytes, last)), bytes.size());
  if (result == SendResult::kRefused) return Refused();
  CountParts(last ? 1 : 0, bytes.size());
  if (last) AdvanceLater();
  return result;
}

void Connection::GiveUp(const internal::OutgoingMessage& message) {
  if (extras_->ordered->messages.Retract(message)) return AdvanceLater();
  Close(CloseCode::kInternalError, "a message was given up");
}

// A message that has to wait for its turn.
SendResult Connection::SendBehind(Buffer frame) {
  if (!MayWait(frame.size())) return SendResult::kRefused;
  extras_->ordered->messages.Wait(std::move(frame));
  return NoteWaiting();
}

// As the stream would have it.
bool Connection::MayWait(size_t bytes) {
  const size_t queued = queued_bytes();
  const size_t limit = stream_->limits().hard;
  if (queued == 0 || queued + bytes <= limit) return true;
  Abort(absl::ResourceExhaustedError(absl::StrCat(Peer(), ": ", queued,
                                                  " bytes wait behind a message in parts, and ",
                                                  bytes, " more pass the limit of ", limit)));
  return false;
}

SendResult Connection::NoteWaiting() {
  if (!blocked_ && extras_->ordered->messages.waiting_bytes() <= stream_->limits().high)
    return SendResult::kSent;
  ready_owed_ = true;
  return SendResult::kBlocked;
}

// By the loop: sources are read, and OnSendReady is called.
void Connection::AdvanceLater() {
  internal::OutgoingMessages& messages = extras_->ordered->messages;
  if (messages.done() && !ready_owed_) {
    DropOrdered();
    return DropExtras();
  }
  if (!extras_->ordered->turn.armed())
    stream_->loop().ArmTimer(extras_->ordered->turn, absl::ZeroDuration());
}

void Connection::AdvanceOrdered() {
  if (state_ != State::kOpen || !has_ordered_) return;
  TellWhenFewWait();
  if (state_ != State::kOpen || !has_ordered_) return;
  internal::OutgoingMessages& messages = extras_->ordered->messages;
  const auto transmit = [this](Buffer frames) {
    NoteOutgoing(frames.size());
    return NoteOwn(stream_->Send(std::move(frames))) == SendResult::kSent;
  };
  const auto progress = messages.Advance(blocked_, kSourceBudget, transmit);
  CountParts(progress.messages_read, progress.bytes_read);
  if (!progress.failure.ok()) return FailSending(progress.failure);
  if (progress.more) AdvanceLater();
  if (messages.done()) {
    DropOrdered();
    DropExtras();
  }
  TellWhenFewWait();
}

void Connection::TellWhenFewWait() {
  if (blocked_ || !ready_owed_) return;
  if (has_ordered_) {
    const internal::OutgoingMessages& messages = extras_->ordered->messages;
    if (!messages.is_writers_turn() && messages.waiting_bytes() > stream_->limits().low) return;
  }
  TellSendReady();
}

void Connection::FailSending(absl::Status status) {
  extras().failure = std::move(status);
  extras_->close_code = CloseCode::kInternalError;
  SendCloseFrame(CloseCode::kInternalError, "");
  EndStream();
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
