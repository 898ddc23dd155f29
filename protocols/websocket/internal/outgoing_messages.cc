#include "sluice/protocols/websocket/internal/outgoing_messages.h"

#include <algorithm>
#include <utility>

#include "sluice/protocols/websocket/internal/frame_encoding.h"

namespace sluice::websocket::internal {
namespace {

// What is read from a source at once: with the header it fills a block of a Buffer.
constexpr size_t kPartBytes = 64 * 1024 - 64;

constexpr size_t kSmallFrame = 256;

}  // namespace

OutgoingMessages::~OutgoingMessages() {
  for (const auto& message : messages_) message->connection = nullptr;
}

std::shared_ptr<OutgoingMessage> OutgoingMessages::Start(Connection& connection, MessageType type,
                                                         std::unique_ptr<MessageSource> source) {
  messages_.push_back(std::make_shared<OutgoingMessage>(
      OutgoingMessage{&connection, static_cast<Opcode>(type), std::move(source)}));
  return messages_.back();
}

bool OutgoingMessages::Retract(const OutgoingMessage& message) {
  if (IsFirst(message) && message.opcode == Opcode::kContinuation && message.waiting.empty()) {
    return false;
  }
  const auto found = std::find_if(messages_.begin(), messages_.end(),
                                  [&](const auto& other) { return other.get() == &message; });
  waiting_bytes_ -= message.waiting.size();
  messages_.erase(found);
  return true;
}

FrameKind OutgoingMessages::NextFrame(OutgoingMessage& message, bool last) {
  if (last) {
    message.finished = true;
    message.connection = nullptr;
  }
  return {std::exchange(message.opcode, Opcode::kContinuation), /*rsv=*/0, /*fin=*/last};
}

Buffer OutgoingMessages::EncodePart(OutgoingMessage& message, absl::Span<const uint8_t> bytes,
                                    bool last) {
  return EncodeFrame(role_, NextFrame(message, last), bytes);
}

void OutgoingMessages::Wait(OutgoingMessage& message, Buffer frames) {
  waiting_bytes_ += frames.size();
  // Small ones are copied together: each by itself would take many times its size.
  if (frames.size() <= kSmallFrame) {
    message.waiting.Append(frames.Linearize(frames.size()));
  } else {
    message.waiting.Append(std::move(frames));
  }
}

void OutgoingMessages::Wait(Buffer frames) {
  if (messages_.empty() || !messages_.back()->finished) {
    messages_.push_back(std::make_shared<OutgoingMessage>());
    messages_.back()->finished = true;
  }
  Wait(*messages_.back(), std::move(frames));
}

// The payload is read into where it leaves from, behind the room for its header. Returns its size.
absl::StatusOr<size_t> OutgoingMessages::ReadPart(OutgoingMessage& message, Buffer& frame) {
  const absl::Span<uint8_t> memory = frame.Reserve(kMaxFrameHeaderBytes + kPartBytes);
  const absl::Span<uint8_t> room = memory.subspan(kMaxFrameHeaderBytes, kPartBytes);
  const absl::StatusOr<size_t> read = message.source->Read(room);
  if (!read.ok()) return read.status();
  const absl::Span<uint8_t> payload = room.first(*read);
  uint8_t* const begin = payload.data() - FrameHeaderBytes(payload.size(), role_ == Role::kClient);
  EncodeFrame(role_, NextFrame(message, /*last=*/payload.empty()), payload, begin);
  frame.Commit(kMaxFrameHeaderBytes + payload.size());
  frame.Drain(static_cast<size_t>(begin - memory.data()));
  return payload.size();
}

OutgoingMessages::Progress OutgoingMessages::Advance(bool blocked, size_t budget,
                                                     Transmit transmit) {
  Progress progress;
  while (!messages_.empty()) {
    OutgoingMessage& first = *messages_.front();
    if (!first.waiting.empty()) {
      if (blocked) break;
      waiting_bytes_ -= first.waiting.size();
      blocked = !transmit(std::exchange(first.waiting, Buffer()));
    }
    if (first.finished) {
      progress.sent.splice(progress.sent.end(), messages_, messages_.begin());
      continue;
    }
    if (first.source == nullptr || blocked) break;
    if (budget == 0) {
      progress.more = true;
      break;
    }
    Buffer frame;
    const absl::StatusOr<size_t> read = ReadPart(first, frame);
    if (!read.ok()) {
      progress.failure = read.status();
      break;
    }
    progress.bytes_read += *read;
    if (first.finished) ++progress.messages_read;
    budget -= std::min(budget, frame.size());
    blocked = !transmit(std::move(frame));
  }
  return progress;
}

}  // namespace sluice::websocket::internal
