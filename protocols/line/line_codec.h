// LineCodec splits a flow of bytes into lines, and puts an ending behind each line that is sent. It
// is a codec (protocols/codec/codec.h): no I/O. line_stream.h joins it with a Stream.
//
// Example:
//   sluice::line::LineCodec codec;
//   sluice::Buffer out;
//   codec.Encode("hello", out);                  // hello\n
//   absl::Span<uint8_t> message;
//   codec.Decode(in, message);                   // "hello" of "hello\nwor" and of "hello\r\nwor"
//
//   // What SMTP and its kin ask for: CRLF, both ways, and nothing else.
//   sluice::line::LineCodec strict({.ending = sluice::line::LineEnding::kCrLf, .strict = true});
//
// A message is a line without its ending: any bytes but LF. An empty line is a message too.
//
//   ending  strict  Decode ends a line at                           Encode sends
//   ------  ------  ----------------------------------------------  ------------
//   kLf     false   LF; one CR in front of it is of the ending      LF
//   kCrLf   false   the same                                        CRLF
//   kLf     true    LF; a CR in front of it is of the line          LF
//   kCrLf   true    CRLF; an LF without CR is an error              CRLF
//
// A CR that no LF follows is a byte of the line like any other.
//
// Encode answers kInvalid for a message that would not arrive as it is: one with an LF in it, and,
// with the default options, one that ends with CR, which would be taken for a part of the ending.
//
// The last line has its ending as well: when a peer ends in the middle of a line, what came of it
// is no message, and CodecStream tells OnClose kDataLoss.
//
// Limits: a line that is longer than max_line_bytes, its ending not counted, is an error as soon as
// that many bytes have come without an ending. Errors (LineError) are sticky; status() says what
// was wrong. A line that comes in many small pieces is searched once: Decode remembers how far it
// has looked.
//
// There is no kFrameIsReusable: a line that came with LF must not go back so where CRLF is to be
// sent.
//
// Thread-compatible. 16 bytes, trivially copyable, owns nothing.
#ifndef SLUICE_PROTOCOLS_LINE_LINE_CODEC_H_
#define SLUICE_PROTOCOLS_LINE_LINE_CODEC_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"

namespace sluice::line {

enum class LineEnding : uint8_t { kLf, kCrLf };

// Any combination is accepted.
struct LineOptions {
  LineEnding ending = LineEnding::kLf;  // of lines that are sent
  bool strict = false;                  // received lines must have that one; else LF or CRLF
  uint32_t max_line_bytes = 64 * 1024;  // without the ending
};

// What can be wrong with received bytes.
enum class LineError : uint8_t {
  kNone,
  kTooLong,  // The line is longer than max_line_bytes.
  kBareLf,   // The line ends with LF where only CRLF is accepted.
};

class LineCodec {
 public:
  using Message = absl::Span<uint8_t>;

  // LF is sent, LF and CRLF are accepted; lines of at most 64 KiB.
  LineCodec() = default;
  explicit LineCodec(const LineOptions& options)
      : max_line_bytes_(options.max_line_bytes), ending_(options.ending), strict_(options.strict) {}

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message);

  // Appends the message, copied, and the ending to `out`: a Buffer, or what has its Append
  // functions. Not hindered by an error of Decode.
  template <typename Sink>
  EncodeResult Encode(absl::Span<const uint8_t> message, Sink& out) const;
  template <typename Sink>
  EncodeResult Encode(absl::string_view message, Sink& out) const;

  // What was wrong with the bytes: OK, kResourceExhausted for kTooLong, kInvalidArgument for
  // kBareLf.
  absl::Status status() const;
  LineError error() const { return error_; }

  // A line with its ending is never longer.
  size_t max_frame_bytes() const { return max_line_bytes_ + longest_ending_bytes(); }
  size_t max_line_bytes() const { return max_line_bytes_; }

 private:
  // Whether a CR in front of LF is not of the line.
  bool strips_cr() const { return !strict_ || ending_ == LineEnding::kCrLf; }
  size_t longest_ending_bytes() const { return strips_cr() ? 2 : 1; }
  absl::string_view ending() const { return ending_ == LineEnding::kLf ? "\n" : "\r\n"; }

  DecodeResult Unfinished(absl::Span<const uint8_t> in);
  EncodeResult Check(absl::Span<const uint8_t> message) const;
  DecodeResult Fail(LineError error);

  uint32_t max_line_bytes_ = 64 * 1024;
  uint32_t looked_at_ = 0;        // bytes of an unfinished line that are known to have no LF
  uint32_t bare_line_bytes_ = 0;  // of kBareLf
  LineEnding ending_ = LineEnding::kLf;
  bool strict_ = false;
  LineError error_ = LineError::kNone;
};

template <typename Sink>
EncodeResult LineCodec::Encode(absl::Span<const uint8_t> message, Sink& out) const {
  const EncodeResult result = Check(message);
  if (ABSL_PREDICT_FALSE(result != EncodeResult::kEncoded)) return result;
  // One piece of memory for a first line, and not a larger one for its ending.
  if constexpr (requires { out.Reserve(message.size()); }) {
    if (out.empty()) (void)out.Reserve(message.size() + ending().size());
  }
  out.Append(message);
  out.Append(ending());
  return result;
}

template <typename Sink>
EncodeResult LineCodec::Encode(absl::string_view message, Sink& out) const {
  return Encode(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(message.data()), message.size()), out);
}

}  // namespace sluice::line

#endif  // SLUICE_PROTOCOLS_LINE_LINE_CODEC_H_
