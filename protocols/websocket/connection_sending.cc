// What a Connection sends: messages, whole and in parts, and what waits behind those.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/event_loop.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/internal/connection_state.h"
#include "sluice/protocols/websocket/internal/frame_encoding.h"
#include "sluice/protocols/websocket/internal/outgoing_messages.h"

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
// So much is read from sources in one turn, for others to have theirs.
constexpr size_t kSourceBudget = 256 * 1024;

}  // namespace

// Null while no OnMessage of this connection runs.
const Connection::Delivery* Connection::delivery() const {
  const Delivery* const current = settings().delivery;
  return current != nullptr && current->connection == this ? current : nullptr;
}

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

}  // namespace sluice::websocket
