// What a Connection receives: messages, whole and in parts, and control frames.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/event_loop.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/internal/connection_state.h"
#include "sluice/protocols/websocket/utf8.h"

namespace sluice::websocket {
namespace {

// Behind more than this there is one pong at a time: the next one waits until the peer has come to
// it, and stands for all pings since.
constexpr size_t kPongQueueBytes = 4096;
// How soon to look again whether the peer has read.
constexpr absl::Duration kPongRetry = absl::Milliseconds(100);
// Of pings and pongs in a second: what its 12 bits can count to.
constexpr uint16_t kMaxControlFrames = 4095;

}  // namespace

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

}  // namespace sluice::websocket
