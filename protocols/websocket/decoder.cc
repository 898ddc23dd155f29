#include "sluice/protocols/websocket/decoder.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "sluice/protocols/websocket/mask.h"
#include "sluice/protocols/websocket/utf8.h"

namespace sluice::websocket {
namespace {

// In front of a payload in a block of our own: enough for any header, and the alignment stays.
constexpr size_t kRoom = 16;
// Announced sizes up to this are allocated at once.
constexpr size_t kAtOnce = 256 * 1024;
// Beyond that, memory is at most so many times what has arrived.
constexpr size_t kGrowth = 4;
// From so many missing bytes on, receiving them in their place saves more than the system call that
// it takes.
constexpr size_t kFillBytes = 32 * 1024;

// Where the length is: in the second byte itself, or in 2 or 8 bytes after it.
constexpr uint8_t kLengthIn2 = 126;
constexpr uint8_t kLengthIn8 = 127;

size_t HeaderBytes(uint8_t byte1) {
  const uint8_t code = byte1 & 0x7f;
  return 2 + (code < kLengthIn2 ? 0 : code == kLengthIn2 ? 2 : 8) + (byte1 & 0x80 ? 4 : 0);
}

// `bytes` has HeaderBytes(bytes[1]) of them.
FrameHeader ParseHeader(const uint8_t* bytes) {
  FrameHeader header;
  header.fin = (bytes[0] & 0x80) != 0;
  header.rsv = bytes[0] >> 4 & 7;
  header.opcode = static_cast<Opcode>(bytes[0] & 0x0f);
  header.masked = (bytes[1] & 0x80) != 0;
  const uint8_t* next = bytes + 2;
  header.payload_bytes = bytes[1] & 0x7f;
  if (header.payload_bytes == kLengthIn2) {
    header.payload_bytes = static_cast<uint64_t>(next[0]) << 8 | next[1];
    next += 2;
  } else if (header.payload_bytes == kLengthIn8) {
    header.payload_bytes = 0;
    for (int i = 0; i < 8; ++i) header.payload_bytes = header.payload_bytes << 8 | next[i];
    next += 8;
  }
  if (header.masked) std::memcpy(&header.mask_key, next, 4);
  return header;
}

}  // namespace

enum class FrameDecoder::End : uint8_t {
  kNotYet,
  kClosed,
  kReservedBits,
  kReservedOpcode,
  kNotMasked,
  kMasked,
  kFragmentedControl,
  kLongControl,
  kNothingToContinue,
  kMessageWithinMessage,
  kLongFormOfLength,
  kImpossibleLength,
  kFrameTooBig,
  kMessageTooBig,
  kEmptyFragments,
  kBadText,
  kCloseOfOneByte,
  kBadCloseCode,
  kBadCloseReason,
  kOutOfMemory,
};

struct FrameDecoder::Assembly {
  enum class Open : uint8_t { kNone, kData, kControl };

  bool busy() const { return in_message || open != Open::kNone; }
  uint8_t* message() { return reinterpret_cast<uint8_t*>(this + 1); }

  size_t size;  // of the message so far
  uint64_t frame_left;
  uint32_t mask_key;  // turned for the next byte
  uint32_t empty_fragments;
  Open open;
  bool in_message;
  bool delivered;  // the message is whole and the user has it
  bool in_parts;   // it is not gathered,
  bool begun;      // and a part of it was given out
  bool fin;        // of the open frame, as is the opcode
  Opcode opcode;
  bool is_text;
  uint8_t rsv;
  Utf8Validator utf8;
  uint8_t control_size;
  uint8_t control_room[kRoom];
  uint8_t control[kMaxControlPayloadBytes];
  uint8_t room[kRoom];
  // The message follows.
};

FrameDecoder::Assembly* FrameDecoder::assembly() const {
  return std::launder(reinterpret_cast<Assembly*>(block_->storage()));
}

size_t FrameDecoder::MessageCapacity() const { return block_->capacity() - sizeof(Assembly); }

bool FrameDecoder::in_message() const { return block_ != nullptr && assembly()->in_message; }

// Inlined so that a header that was just read stays in registers: written byte by byte and read
// back as a word, it would wait for the stores.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline FrameDecoder::Event FrameDecoder::TakeInPlace(
    const FrameHeader& header, Input& input) {
  const size_t size = static_cast<size_t>(header.payload_bytes);
  const bool check_text = header.opcode == Opcode::kText && header.rsv == 0;
  uint8_t* payload = input.begin;
  bool ascii = false;
  if (header.masked) {
    payload = input.writable_from + FrameHeaderBytes(size);
    if (check_text) {
      ascii = ApplyMaskTestingAscii(payload, input.begin, size, header.mask_key);
    } else {
      ApplyMask(payload, input.begin, size, header.mask_key);
    }
  }
  const size_t room = static_cast<size_t>(payload - input.writable_from);
  input.begin += size;
  input.writable_from = payload + size;
  if (IsControl(header.opcode)) return ControlEvent(header.opcode, payload, size, room);
  if (check_text && !ascii && !IsValidUtf8(absl::MakeConstSpan(payload, size))) {
    end_ = End::kBadText;
    return EndEvent();
  }
  Event event;
  event.kind = Event::kMessage;
  event.is_text = header.opcode == Opcode::kText;
  event.rsv = header.rsv;
  event.payload = payload;
  event.size = size;
  event.room = room;
  return event;
}

FrameDecoder::Event FrameDecoder::Next(Input& input) {
  if (ABSL_PREDICT_FALSE(end_ != End::kNotYet)) {
    input.begin = input.end;
    block_.reset();
    return EndEvent();
  }
  if (block_ != nullptr && !assembly()->busy()) block_.reset();
  FrameHeader common;
  if (ABSL_PREDICT_TRUE(TakeCommonHeader(input, common))) return TakeInPlace(common, input);
  Event event;
  for (;;) {
    if (block_ == nullptr || assembly()->open == Assembly::Open::kNone) {
      FrameHeader header;
      if (!HaveHeader(input, header)) break;
      if (FitsInPlace(header, input)) return TakeInPlace(header, input);
      OpenFrame(header);
    }
    if (end_ == End::kNotYet && GivesParts()) {
      if (TakePart(input, event)) return event;
      if (assembly()->frame_left > 0) break;
      continue;
    }
    if (end_ == End::kNotYet) TakePayload(input);
    if (end_ != End::kNotYet || assembly()->frame_left > 0) break;
    if (FinishFrame(event)) return event;
  }
  return end_ == End::kNotYet ? event : EndEvent();
}

// Reads the header of what nearly every frame is to a server, a whole message of up to 64 KiB that
// has arrived whole, in one look. False, and nothing is done, for all others.
inline bool FrameDecoder::TakeCommonHeader(Input& input, FrameHeader& header) const {
  const uint8_t* const bytes = input.begin;
  const size_t have = static_cast<size_t>(input.end - bytes);
  if (have < 8 || header_size_ != 0 || block_ != nullptr) return false;
  const uint8_t opcode = bytes[0] ^ 0x80;  // with FIN and without reserved bits
  if (opcode != static_cast<uint8_t>(Opcode::kText) &&
      opcode != static_cast<uint8_t>(Opcode::kBinary)) {
    return false;
  }
  if (bytes[1] < 0x80 || options_->role != Role::kServer) return false;
  size_t size = bytes[1] & 0x7f;
  size_t header_bytes = 6;
  if (size >= kLengthIn2) {
    if (size == kLengthIn8) return false;
    size = static_cast<size_t>(bytes[2]) << 8 | bytes[3];
    if (size < kLengthIn2) return false;
    header_bytes = 8;
  }
  if (size > have - header_bytes || size > options_->max_message_bytes ||
      size > options_->max_frame_bytes) {
    return false;
  }
  header.opcode = static_cast<Opcode>(opcode);
  header.masked = true;
  header.payload_bytes = size;
  std::memcpy(&header.mask_key, bytes + header_bytes - 4, 4);
  input.begin += header_bytes;
  return true;
}

// Reads a header to its end. False when that has not arrived, or when end_ says what is wrong.
bool FrameDecoder::HaveHeader(Input& input, FrameHeader& header) {
  const uint8_t* bytes = input.begin;
  size_t have = static_cast<size_t>(input.end - input.begin);
  if (have == 0) return false;
  if (ABSL_PREDICT_FALSE(header_size_ > 0)) {
    // Join what came before with as much as the longest header could still lack.
    const size_t added = std::min(have, sizeof(header_) - header_size_);
    std::memcpy(header_ + header_size_, input.begin, added);
    bytes = header_;
    have = header_size_ + added;
  }
  if (have >= 2) {
    end_ = CheckStart(bytes[0], bytes[1]);
    if (ABSL_PREDICT_FALSE(end_ != End::kNotYet)) return false;
  }
  const size_t needed = have < 2 ? 2 : HeaderBytes(bytes[1]);
  if (ABSL_PREDICT_FALSE(have < needed)) {
    if (header_size_ == 0) std::memcpy(header_, bytes, have);
    header_size_ = static_cast<uint8_t>(have);
    input.begin = input.end;
    return false;
  }
  header = ParseHeader(bytes);
  input.begin += needed - header_size_;
  header_size_ = 0;
  end_ = CheckLength(header, bytes[1] & 0x7f);
  return end_ == End::kNotYet;
}

FrameDecoder::End FrameDecoder::CheckStart(uint8_t byte0, uint8_t byte1) const {
  const bool fin = (byte0 & 0x80) != 0;
  const uint8_t rsv = byte0 >> 4 & 7;
  const uint8_t opcode = byte0 & 0x0f;
  const bool masked = (byte1 & 0x80) != 0;
  const bool starts_message = opcode == static_cast<uint8_t>(Opcode::kText) ||
                              opcode == static_cast<uint8_t>(Opcode::kBinary);
  if (rsv != 0 && (!starts_message || (rsv & ~allowed_rsv_) != 0)) return End::kReservedBits;
  if (masked != (options_->role == Role::kServer)) {
    return masked ? End::kMasked : End::kNotMasked;
  }
  if (starts_message) return in_message() ? End::kMessageWithinMessage : End::kNotYet;
  switch (static_cast<Opcode>(opcode)) {
    case Opcode::kContinuation:
      return in_message() ? End::kNotYet : End::kNothingToContinue;
    case Opcode::kClose:
    case Opcode::kPing:
    case Opcode::kPong:
      if (!fin) return End::kFragmentedControl;
      return (byte1 & 0x7f) > kMaxControlPayloadBytes ? End::kLongControl : End::kNotYet;
    default:
      return End::kReservedOpcode;
  }
}

// What does not compress becomes a little larger.
uint64_t FrameDecoder::MessageLimit(uint8_t rsv) const {
  const uint64_t limit = options_->max_message_bytes;
  const uint64_t more = rsv == 0 ? 0 : limit / 512 + 64;
  return limit + std::min(more, ~uint64_t{0} - limit);
}

FrameDecoder::End FrameDecoder::CheckLength(const FrameHeader& header, uint8_t length_code) const {
  const uint64_t size = header.payload_bytes;
  if (length_code == kLengthIn2 && size < kLengthIn2) return End::kLongFormOfLength;
  if (length_code == kLengthIn8 && size <= 0xffff) return End::kLongFormOfLength;
  if (size >> 63 != 0) return End::kImpossibleLength;
  if (IsControl(header.opcode)) return End::kNotYet;
  if (size > options_->max_frame_bytes) return End::kFrameTooBig;
  const bool continues = in_message();
  const uint64_t before = continues ? assembly()->size : 0;
  const uint64_t limit = MessageLimit(continues ? assembly()->rsv : header.rsv);
  return size > limit - before ? End::kMessageTooBig : End::kNotYet;
}

// Whether the frame is a whole message or control frame, all of it is here, and it can be given out
// where it lies. A client has nothing to write, so it needs no room.
bool FrameDecoder::FitsInPlace(const FrameHeader& header, const Input& input) const {
  if (header.payload_bytes > static_cast<uint64_t>(input.end - input.begin)) return false;
  if (!header.fin || header.opcode == Opcode::kContinuation) return false;
  return !header.masked || static_cast<size_t>(input.begin - input.writable_from) >=
                               FrameHeaderBytes(header.payload_bytes);
}

// Begins to gather a frame; sets end_ if that is one too many.
void FrameDecoder::OpenFrame(const FrameHeader& header) {
  if (block_ == nullptr) {
    const size_t capacity = IsControl(header.opcode) || in_parts_ || header.payload_bytes > kAtOnce
                                ? 0
                                : header.payload_bytes;
    block_.reset(Block::TryNewExact(sizeof(Assembly) + capacity));
    if (block_ == nullptr) {
      end_ = End::kOutOfMemory;
      return;
    }
    new (block_->storage()) Assembly();
  }
  Assembly& a = *assembly();
  a.frame_left = header.payload_bytes;
  a.mask_key = header.mask_key;
  a.fin = header.fin;
  a.opcode = header.opcode;
  if (IsControl(header.opcode)) {
    a.open = Assembly::Open::kControl;
    a.control_size = 0;
    return;
  }
  a.open = Assembly::Open::kData;
  if (header.opcode != Opcode::kContinuation) {
    a.in_message = true;
    a.in_parts = in_parts_;
    a.begun = false;
    a.is_text = header.opcode == Opcode::kText;
    a.rsv = header.rsv;
  }
  if (header.payload_bytes == 0 && !header.fin &&
      ++a.empty_fragments > options_->max_empty_fragments) {
    end_ = End::kEmptyFragments;
  }
}

// Moves what has arrived of the open frame into the block, unmasked, and checks it if it is text.
void FrameDecoder::TakePayload(Input& input) {
  const size_t size = static_cast<size_t>(
      std::min<uint64_t>(assembly()->frame_left, static_cast<uint64_t>(input.end - input.begin)));
  if (size == 0) return;
  const bool control = assembly()->open == Assembly::Open::kControl;
  if (!control && !MakeRoom(size)) {
    end_ = End::kOutOfMemory;
    return;
  }
  Assembly& a = *assembly();
  uint8_t* const to = control ? a.control + a.control_size : a.message() + a.size;
  const bool ascii = Unmask(to, input.begin, size);
  input.begin += size;
  if (control) {
    a.control_size = static_cast<uint8_t>(a.control_size + size);
    return;
  }
  a.size += size;
  if (!CheckText(to, size, ascii)) end_ = End::kBadText;
}

// Moves bytes of the open frame to where they are wanted, unmasked. Whether they are known to be
// ASCII.
bool FrameDecoder::Unmask(uint8_t* to, const uint8_t* from, size_t size) {
  Assembly& a = *assembly();
  bool ascii = false;
  if (options_->role == Role::kClient) {
    if (to != from) std::memcpy(to, from, size);
  } else if (a.open == Assembly::Open::kData && a.is_text && a.rsv == 0) {
    ascii = ApplyMaskTestingAscii(to, from, size, a.mask_key);
  } else {
    ApplyMask(to, from, size, a.mask_key);
  }
  a.mask_key = TurnMaskKey(a.mask_key, size);
  a.frame_left -= size;
  return ascii;
}

// The next bytes of a message, which is no text, or is valid so far.
bool FrameDecoder::CheckText(const uint8_t* text, size_t size, bool ascii) {
  Assembly& a = *assembly();
  if (!a.is_text || a.rsv != 0) return true;
  return (ascii && a.utf8.complete()) || a.utf8.Update(text, size);
}

bool FrameDecoder::GivesParts() const {
  return assembly()->in_parts && assembly()->open == Assembly::Open::kData;
}

// Gives out what has arrived of the open frame, where it lies. False for nothing.
bool FrameDecoder::TakePart(Input& input, Event& event) {
  Assembly& a = *assembly();
  const size_t size = static_cast<size_t>(
      std::min<uint64_t>(a.frame_left, static_cast<uint64_t>(input.end - input.begin)));
  event.payload = input.begin;
  event.size = size;
  event.room = static_cast<size_t>(input.begin - input.writable_from);
  bool valid = true;
  if (size > 0) {
    const bool ascii = Unmask(input.begin, input.begin, size);
    valid = CheckText(input.begin, size, ascii);
    input.begin += size;
    a.size += size;
  }
  input.writable_from = input.begin;
  if (a.frame_left == 0) a.open = Assembly::Open::kNone;
  event.last = a.frame_left == 0 && a.fin;
  if (event.last) {
    a.in_message = false;
    valid = valid && a.utf8.complete();
  }
  if (!valid) {
    end_ = End::kBadText;
    event = EndEvent();
    return true;
  }
  if (size == 0 && !event.last) return false;
  event.kind = Event::kPart;
  event.is_text = a.is_text;
  event.rsv = a.rsv;
  event.first = !std::exchange(a.begun, true);
  return true;
}

// Makes the block hold `more` bytes of message. What is announced is taken at once if it is small;
// else the block grows with what arrives, up to what is announced.
bool FrameDecoder::MakeRoom(size_t more) {
  const Assembly& a = *assembly();
  const size_t needed = a.size + more;
  if (needed <= MessageCapacity()) return true;
  const size_t announced = a.size + static_cast<size_t>(a.frame_left);
  const size_t bound = std::max(kAtOnce, kGrowth * needed);
  // For a little more (sizes like 1 MiB) it would be copied once again.
  const size_t wish = announced <= bound + bound / 8 ? announced : bound;
  size_t capacity = std::max({needed, MessageCapacity() + MessageCapacity() / 2, wish});
  if (a.fin) capacity = std::min(capacity, announced);
  BlockPtr grown(Block::TryNewExact(sizeof(Assembly) + capacity));
  if (grown == nullptr) return false;
  static_assert(std::is_trivially_copyable_v<Assembly>, "the message is moved with it");
  std::memcpy(grown->storage(), block_->storage(), sizeof(Assembly) + a.size);
  block_ = std::move(grown);
  return true;
}

// Not before something of the message is there: where it begins says whether it was lent.
absl::Span<uint8_t> FrameDecoder::ReceiveSpace() {
  if (block_ == nullptr || end_ != End::kNotYet) return {};
  const Assembly& before = *assembly();
  if (before.open != Assembly::Open::kData || before.in_parts || before.size == 0) return {};
  if (before.frame_left < kFillBytes || !MakeRoom(1)) return {};
  Assembly& a = *assembly();
  const size_t room = MessageCapacity() - a.size;
  if (room < kFillBytes) return {};
  return absl::MakeSpan(a.message() + a.size,
                        static_cast<size_t>(std::min<uint64_t>(a.frame_left, room)));
}

// The open frame is whole: makes the event of it, unless more fragments follow.
bool FrameDecoder::FinishFrame(Event& event) {
  Assembly& a = *assembly();
  const bool control = a.open == Assembly::Open::kControl;
  a.open = Assembly::Open::kNone;
  if (control) {
    event = ControlEvent(a.opcode, a.control, a.control_size, kRoom);
    return true;
  }
  if (!a.fin) return false;
  a.in_message = false;
  if (!a.utf8.complete()) {
    end_ = End::kBadText;
    event = EndEvent();
    return true;
  }
  a.delivered = true;
  event.kind = Event::kMessage;
  event.is_text = a.is_text;
  event.rsv = a.rsv;
  event.payload = a.message();
  event.size = a.size;
  event.room = kRoom;
  return true;
}

FrameDecoder::Event FrameDecoder::ControlEvent(Opcode opcode, uint8_t* payload, size_t size,
                                               size_t room) {
  Event event;
  event.payload = payload;
  event.size = size;
  event.room = room;
  if (opcode != Opcode::kClose) {
    event.kind = opcode == Opcode::kPing ? Event::kPing : Event::kPong;
    return event;
  }
  event.kind = Event::kClose;
  end_ = End::kClosed;
  if (size == 0) return event;
  const uint16_t code = static_cast<uint16_t>(payload[0] << 8 | payload[size > 1]);
  if (size == 1) {
    end_ = End::kCloseOfOneByte;
  } else if (!MayBeSent(code)) {
    end_ = End::kBadCloseCode;
  } else if (!IsValidUtf8(absl::MakeConstSpan(payload + 2, size - 2))) {
    end_ = End::kBadCloseReason;
  }
  if (end_ != End::kClosed) return EndEvent();
  event.code = static_cast<CloseCode>(code);
  event.payload += 2;
  event.size -= 2;
  event.room += 2;
  return event;
}

BlockPtr FrameDecoder::TakeStorage() {
  if (block_ == nullptr || !assembly()->delivered) return nullptr;
  return std::move(block_);
}

size_t FrameDecoder::allocated_bytes() const { return block_ == nullptr ? 0 : block_->footprint(); }

FrameDecoder::Event FrameDecoder::EndEvent() {
  Event event;
  const auto fail = [&event, this](CloseCode code, const char* error) {
    block_.reset();
    event.kind = Event::kError;
    event.code = code;
    event.error = error;
  };
  switch (end_) {
    case End::kNotYet:
    case End::kClosed:
      break;
    case End::kReservedBits:
      fail(CloseCode::kProtocolError, "a reserved bit is set and no extension uses it");
      break;
    case End::kReservedOpcode:
      fail(CloseCode::kProtocolError, "a frame has a reserved opcode");
      break;
    case End::kNotMasked:
      fail(CloseCode::kProtocolError, "a frame from a client is not masked");
      break;
    case End::kMasked:
      fail(CloseCode::kProtocolError, "a frame from a server is masked");
      break;
    case End::kFragmentedControl:
      fail(CloseCode::kProtocolError, "a control frame is fragmented");
      break;
    case End::kLongControl:
      fail(CloseCode::kProtocolError, "a control frame has more than 125 bytes");
      break;
    case End::kNothingToContinue:
      fail(CloseCode::kProtocolError, "a continuation frame continues nothing");
      break;
    case End::kMessageWithinMessage:
      fail(CloseCode::kProtocolError, "a message begins within a fragmented message");
      break;
    case End::kLongFormOfLength:
      fail(CloseCode::kProtocolError, "a length is not in its shortest form");
      break;
    case End::kImpossibleLength:
      fail(CloseCode::kProtocolError, "a length has its top bit set");
      break;
    case End::kFrameTooBig:
      fail(CloseCode::kMessageTooBig, "a frame is over the limit");
      break;
    case End::kMessageTooBig:
      fail(CloseCode::kMessageTooBig, "a message is over the limit");
      break;
    case End::kEmptyFragments:
      fail(CloseCode::kPolicyViolation, "a message has too many empty fragments");
      break;
    case End::kBadText:
      fail(CloseCode::kInvalidPayload, "a text message is not UTF-8");
      break;
    case End::kCloseOfOneByte:
      fail(CloseCode::kProtocolError, "a close frame has one byte");
      break;
    case End::kBadCloseCode:
      fail(CloseCode::kProtocolError, "a close frame has a code that may not be sent");
      break;
    case End::kBadCloseReason:
      fail(CloseCode::kInvalidPayload, "the reason in a close frame is not UTF-8");
      break;
    case End::kOutOfMemory:
      fail(CloseCode::kInternalError, "out of memory");
      break;
  }
  return event;
}

}  // namespace sluice::websocket
