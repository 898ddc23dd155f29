// A codec is what makes a protocol: a small type that turns bytes into messages and messages into
// bytes. It does no I/O, reads no clock and starts no thread; CodecStream (codec_stream.h) joins it
// with a Stream, and a user's own codec is plugged in there without touching sluice. This header
// holds the interface, as a concept, and what it is made of.
//
// Example: text of at most 255 bytes behind its length in one byte.
//
//   class ShortTextCodec {
//    public:
//     using Message = absl::Span<uint8_t>;
//
//     sluice::DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
//       if (in.empty()) return sluice::DecodeResult::NeedMore(1);
//       const size_t size = 1 + size_t{in[0]};
//       if (in.size() < size) return sluice::DecodeResult::NeedMore(size);
//       message = in.subspan(1, size - 1);
//       return sluice::DecodeResult::Message(size);
//     }
//     sluice::EncodeResult Encode(absl::Span<const uint8_t> message, sluice::Buffer& out) const {
//       if (message.size() > 255) return sluice::EncodeResult::kTooLong;
//       const uint8_t size = static_cast<uint8_t>(message.size());
//       out.Append(absl::MakeConstSpan(&size, 1));
//       out.Append(message);
//       return sluice::EncodeResult::kEncoded;
//     }
//     absl::Status status() const { return absl::OkStatus(); }  // no bytes are wrong here
//     size_t max_frame_bytes() const { return 256; }
//   };
//   static_assert(sluice::Codec<ShortTextCodec>);
//
// The contract, which codec_testing.h proves for a codec in a few lines:
//
// Decode looks at the front of `in`, bytes as they have arrived, and answers one of four things:
//   * a message, and how many bytes of the front it took (at least one). Message may be any
//     type that has a default: bytes, or a struct of the protocol's own. What it refers to is `in`,
//     so that nothing is copied (Decode may change the bytes in place: unmask, unescape), or memory
//     of the codec's own (decompressed bytes, a list of parts). It is valid as long as `in` is, and
//     until the next Decode.
//   * bytes without a message (a keep-alive, a blank line), and how many (at least one).
//   * it needs more. Then it is called again with the same bytes at the front, as it has left them,
//     and more behind them; they may have moved elsewhere in memory. So a codec may remember how
//     far it has looked, but no pointer.
//   * an error, which is sticky: every later call answers the same, and status() tells what was
//     wrong.
// `in` may be empty. A message is the same however the bytes were cut into pieces on their way.
//
// Memory: a codec keeps no bytes of an incomplete message. Whoever calls it does; since Decode
// answers with an error as soon as it knows that a frame will be longer than max_frame_bytes(),
// they are at most that many. What a codec has for its messages has a limit of its own. Where that
// may be much more than what has arrived for it (decompressed bytes), a ReleaseMemory() of the
// codec's gives it back: CodecStream calls it after each OnMessage, so that a connection on which
// nothing more comes does not keep it.
//
// Encode appends a message's bytes to a Buffer, or nothing when it does not answer kEncoded; that
// is no error of the codec. `out` may be a template parameter of Encode: CodecStream then gives it
// a sink with the same three Append functions that puts the bytes into the stream's send queue
// without a Buffer in between.
//
// A codec with a constant `kFrameIsReusable = true` promises that Decode leaves the bytes that a
// message took as they were, and that sent back they are that message: this is what makes
// CodecStream::SendInPlace possible.
//
// A payload codec is the inner half of a protocol, to which something else has given the bounds of
// a message already: decryption, decompression, a parser. DecodePayload gets all bytes of one
// message, none too, and answers whether they are one; `false` is as sticky as an error of Decode.
// composed_codec.h puts it, or a whole codec, into the messages of another codec.
//
// Thread-compatible: a codec belongs to one direction pair of one stream. Copied, it is a new one
// for another stream only while it has not decoded anything.
#ifndef SLUICE_PROTOCOLS_CODEC_CODEC_H_
#define SLUICE_PROTOCOLS_CODEC_CODEC_H_

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace sluice {

class Buffer;

// What Decode found at the front of its input.
struct DecodeResult {
  enum class Kind : uint8_t { kMessage, kSkipped, kNeedMore, kError };

  // A message that took the first `consumed` bytes.
  static constexpr DecodeResult Message(size_t consumed) { return {Kind::kMessage, consumed}; }
  // The first `consumed` bytes carry no message.
  static constexpr DecodeResult Skipped(size_t consumed) { return {Kind::kSkipped, consumed}; }
  // No whole message is there. It goes on when there are `want` bytes, counted from the front, or,
  // with 0, when there is at least one more. The caller may allocate for `want`, so it is to be a
  // size that is within the limit.
  static constexpr DecodeResult NeedMore(size_t want) { return {Kind::kNeedMore, want}; }
  // The bytes are not of the protocol, or over its limit. status() says more.
  static constexpr DecodeResult Error() { return {Kind::kError, 0}; }

  constexpr size_t consumed() const { return kind <= Kind::kSkipped ? bytes : 0; }
  constexpr size_t want() const { return kind == Kind::kNeedMore ? bytes : 0; }

  friend constexpr bool operator==(DecodeResult a, DecodeResult b) = default;

  Kind kind;
  size_t bytes;  // consumed() or want()
};

// What became of a message given to Encode.
enum class EncodeResult : uint8_t {
  kEncoded,
  kTooLong,  // Longer than the limit, or than the protocol can say.
  kInvalid,  // Not a message of this protocol, or not one that can be encoded as the codec is set
             // up.
};

template <typename C>
concept Codec = requires(C codec, const C& constant, absl::Span<uint8_t> in,
                         typename C::Message& message) {
  { codec.Decode(in, message) } -> std::same_as<DecodeResult>;
  { constant.status() } -> std::same_as<absl::Status>;
  { constant.max_frame_bytes() } -> std::convertible_to<size_t>;
};

// A codec whose Encode takes an M.
template <typename C, typename M>
concept EncoderOf = Codec<C> && requires(C codec, M message, Buffer& out) {
  { codec.Encode(static_cast<M&&>(message), out) } -> std::same_as<EncodeResult>;
};

// A codec with messages of bytes: what AnyCodec can hold.
template <typename C>
concept ByteCodec = Codec<C> && std::same_as<typename C::Message, absl::Span<uint8_t>> &&
    EncoderOf<C, absl::Span<const uint8_t>>;

// One whose frames can be sent back as they arrived.
template <typename C>
concept HasReusableFrames = ByteCodec<C> && requires {
  requires C::kFrameIsReusable;
};

// What turns the whole of an outer codec's message into a message, and back.
template <typename P>
concept PayloadCodec = requires(P codec, const P& constant, absl::Span<uint8_t> payload,
                                typename P::Message& message) {
  { codec.DecodePayload(payload, message) } -> std::same_as<bool>;
  { constant.status() } -> std::same_as<absl::Status>;
};

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_CODEC_CODEC_H_
