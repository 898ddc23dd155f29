// FrameDecoder makes messages from the bytes of one direction of a WebSocket connection (RFC 6455
// section 5), and says why where the bytes break the rules. It does no I/O, answers nothing, and
// keeps no clock; connection.h is what does.
//
// Example:
//   FrameDecoder decoder(options);                            // options.role: which end one is
//   FrameDecoder::Input input{begin, end, begin};             // what just arrived
//   for (;;) {
//     FrameDecoder::Event event = decoder.Next(input);
//     if (event.kind == FrameDecoder::Event::kNeedMore) break;  // all of the input is consumed
//     if (event.kind == FrameDecoder::Event::kError) { Fail(event.code, event.error); break; }
//     if (event.kind == FrameDecoder::Event::kMessage) Print(event.text());
//   }
//
// In place. A message that lies whole in the input is unmasked right there and moved down, so that
// in front of the payload is exactly the room for the header of the same frame from a server, and
// in front of that ends the payload before:
//
//   arrived    | hdr+key | payload 1     | hdr+key | payload 2     |
//   afterwards | hdr | payload 1     | hdr | payload 2     |
//
// A server that echoes a burst writes the headers and sends one range. What does not lie whole in
// the input (and fragmented messages) is gathered in memory of the decoder's own, written once,
// unmasked on the way; the decoder consumes all it is given, and the caller keeps no tail.
//
// In parts. After DeliverInParts a message is not gathered: what has arrived of it is given out at
// once, unmasked where it lies, and the decoder keeps nothing of it.
//
// Memory: 32 bytes, and a heap block only while a frame's payload or a fragmented message is
// incomplete. Sizes up to 256 KiB are allocated as announced; above that the block grows with what
// really arrives, to four times of it (both and an eighth, where that saves growing again), so that
// announcing much costs the peer, too.
//
// Limits: see Options. Past one, or past a rule of the protocol, Next() gives kError, from then on
// always. After the peer's close frame it consumes and ignores all that follows.
//
// Thread-compatible. Payloads live in the input or in the decoder: they are good until the next
// Next(), those in the input as long as the input's memory is (no later call writes to them).

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_DECODER_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_DECODER_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/frame.h"

namespace sluice::websocket {

class FrameDecoder {
 public:
  // Shared by many decoders, and must outlive them.
  struct Options {
    // A server takes masked frames only, a client unmasked ones only.
    Role role = Role::kServer;
    // A message is all its fragments together. Too big a one is refused when a header announces it.
    // One that is an extension's, by its reserved bits, may be larger by 1/512 and 64 bytes, as
    // compressing may make it: what it then comes to is for the extension to look at.
    uint64_t max_message_bytes = uint64_t{1} << 20;
    uint64_t max_frame_bytes = ~uint64_t{0};
    // Fragments without payload within one message: each costs work and none brings the message to
    // its end or its limit. Fragments with payload are bounded by max_message_bytes.
    uint32_t max_empty_fragments = 64;
  };

  // The bytes to decode are [begin, end). Next() advances both pointers: `begin` past what it
  // consumed, `writable_from` past the last payload that it left in the input.
  struct Input {
    uint8_t* begin;
    uint8_t* end;
    // The lowest address that Next() and the user of its events may overwrite; at most `begin`.
    // With 16 bytes between the two, a message whose header came with the input before is still
    // decoded in place.
    uint8_t* writable_from;
  };

  struct Event {
    enum Kind : uint8_t { kNeedMore, kMessage, kPart, kPing, kPong, kClose, kError };

    Kind kind = kNeedMore;
    // kMessage and kPart: whether it is text; then it is valid UTF-8, unless `rsv` says that an
    // extension is to make the text from it. A part may end within a character.
    bool is_text = false;
    // kPart: whether its message begins and ends with it. The last may be empty.
    bool first = true;
    bool last = true;
    uint8_t rsv = 0;  // kMessage and kPart: the reserved bits of the message's first frame
    // kClose: what the peer gave, or kNoStatus. kError: what to close with.
    CloseCode code = CloseCode::kNoStatus;
    uint8_t* payload = nullptr;  // kClose: the reason, valid UTF-8
    size_t size = 0;
    // The bytes in front of `payload` that may be overwritten. For a server always enough for
    // FrameHeaderBytes(size), but for a kPart.
    size_t room = 0;
    const char* error = nullptr;  // kError: a sentence of its own

    absl::Span<uint8_t> bytes() const { return absl::MakeSpan(payload, size); }
    absl::string_view text() const {
      return absl::string_view(reinterpret_cast<const char*>(payload), size);
    }
  };

  // `allowed_rsv`: the reserved bits that negotiated extensions use on the first frame of a message
  // (RSV1 is 4). All others are errors.
  explicit FrameDecoder(const Options& options, uint8_t allowed_rsv = 0)
      : options_(&options), header_size_(0), allowed_rsv_(allowed_rsv & 7), in_parts_(false) {}
  FrameDecoder(const FrameDecoder&) = delete;
  FrameDecoder& operator=(const FrameDecoder&) = delete;

  // As the constructor's; before the first frame.
  void AllowRsv(uint8_t bits) { allowed_rsv_ = bits & 7; }

  // From the next message on: messages that do not lie whole in the input come as kPart, piece by
  // piece, or no longer so.
  void DeliverInParts(bool in_parts) { in_parts_ = in_parts; }

  Event Next(Input& input);

  const Options& options() const { return *options_; }

  // After a kMessage, before the next call: gives away the block that holds the message, and the
  // room in front of it; null if it lies in the input. The event's pointers stay good while the
  // block lives.
  BlockPtr TakeStorage();

  // Where what arrives next is best placed, when much is missing of a payload: input that lies
  // there is decoded where it lies, and not copied. Else empty. Good until the next call of Next().
  absl::Span<uint8_t> ReceiveSpace();

  // Whether nothing is half done: no incomplete header, frame or message.
  bool idle() const { return block_ == nullptr && header_size_ == 0; }

  // What the decoder holds on the heap, for accounting.
  size_t allocated_bytes() const;

 private:
  // Why nothing more comes: the peer's close frame, or what is wrong.
  enum class End : uint8_t;
  // The state of an incomplete frame or message and, behind it, the payload: one block.
  struct Assembly;
  Assembly* assembly() const;  // of block_, which is there
  size_t MessageCapacity() const;

  bool in_message() const;
  bool TakeCommonHeader(Input& input, FrameHeader& header) const;
  bool HaveHeader(Input& input, FrameHeader& header);
  End CheckStart(uint8_t byte0, uint8_t byte1) const;
  uint64_t MessageLimit(uint8_t rsv) const;
  End CheckLength(const FrameHeader& header, uint8_t length_code) const;
  bool FitsInPlace(const FrameHeader& header, const Input& input) const;
  Event TakeInPlace(const FrameHeader& header, Input& input);
  void OpenFrame(const FrameHeader& header);
  void TakePayload(Input& input);
  bool GivesParts() const;
  bool TakePart(Input& input, Event& event);
  bool CheckText(const uint8_t* text, size_t size, bool ascii);
  bool Unmask(uint8_t* to, const uint8_t* from, size_t size);
  bool FinishFrame(Event& event);
  Event ControlEvent(Opcode opcode, uint8_t* payload, size_t size, size_t room);
  bool MakeRoom(size_t more);
  Event EndEvent();

  const Options* options_;
  BlockPtr block_;                        // starts with an Assembly
  uint8_t header_[kMaxFrameHeaderBytes];  // the first header_size_ bytes of an incomplete one
  uint8_t header_size_ : 4;
  uint8_t allowed_rsv_ : 3;
  bool in_parts_ : 1;
  End end_{};
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_DECODER_H_
