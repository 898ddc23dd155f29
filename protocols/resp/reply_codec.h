// ReplyCodec is the client's side of the Redis protocol, RESP2 and RESP3: it decodes values of
// every type and encodes commands (encode.h). It is a codec (protocols/codec/codec.h): no I/O;
// client.h matches its replies with commands, resp_stream.h joins it with a Stream. The server's
// side is CommandCodec (command_codec.h).
//
// Example:
//   sluice::resp::ReplyCodec codec;
//   sluice::resp::Value value;
//   codec.Encode(sluice::resp::Arguments{"MGET", "a", "b"}, out);
//   codec.Decode(in, value);                   // "*2\r\n$5\r\nhello\r\n:7\r\n"
//   value.size();                              // 2
//   value[0].string();                         // "hello", a part of `in`
//   value[1].integer();                        // 7
//
// All types of both versions are understood at any time: simple and bulk strings and errors,
// integers, both nulls of RESP2 and that of RESP3, booleans, doubles (inf, -inf, nan and exponents,
// which Redis sends, too), big numbers, verbatim strings, arrays, maps, sets, pushes, attributes;
// and RESP3's streamed strings ($?), which are joined in place, and streamed arrays, maps and sets
// (*? %? ~?).
//
// Errors: bytes that are none of these (ReplyError; status() is kInvalidArgument), and what is over
// a limit of ReplyOptions (kResourceExhausted). A simple string, an error and a big number have at
// most kMaxLineBytes.
//
// Memory: 16 bytes a value, in a list that is kept from message to message, up to 64 values of it;
// and 8 bytes for each level of nesting. What a server announces costs nothing before it comes. A
// value that arrives in pieces is looked at once: the codec remembers how far it has come. Depth is
// a number here, not stack.
//
// Encode takes a command (Arguments), one that was received, a Value, or a function with a
// ReplyWriter, which writes RESP3 unless set_version says otherwise.
//
// Thread-compatible. A codec that has decoded nothing may be copied.
#ifndef SLUICE_PROTOCOLS_RESP_REPLY_CODEC_H_
#define SLUICE_PROTOCOLS_RESP_REPLY_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/resp/command_codec.h"
#include "sluice/protocols/resp/encode.h"
#include "sluice/protocols/resp/internal/number.h"
#include "sluice/protocols/resp/value.h"

namespace sluice::resp {

struct ReplyOptions {
  int64_t max_bulk_bytes = 16 * 1024 * 1024;   // of one string; 0 to 2^31 - 1
  int64_t max_values = 1024 * 1024;            // of one message; 1 to 2^31 - 1
  int64_t max_depth = 64;                      // aggregates in each other; 1 to 2^31 - 1
  int64_t max_frame_bytes = 64 * 1024 * 1024;  // of a message as it is sent; 64 to 2^31 - 1
};

enum class ReplyError : uint8_t {
  kNone,
  kUnknownType,      // no type begins with this byte
  kInvalidLength,    // of a string or an aggregate: not a number, or negative where that is nothing
  kInvalidNumber,    // an integer, double, big number, boolean or null is written wrongly
  kNoLineBreak,      // where there must be one, or one where there must be none
  kInvalidVerbatim,  // no format and colon in front
  kInvalidStream,    // the end of a stream where there is none, or in the middle of a pair, or
                     // something else than a part of a streamed string
  kNestedPush,       // in another value
  kBulkTooLong,      // over max_bulk_bytes
  kLineTooLong,      // over kMaxLineBytes
  kTooManyValues,    // over max_values
  kTooDeep,          // over max_depth
  kFrameTooLong,     // over max_frame_bytes
};

class ReplyCodec : public Encoder {
 public:
  using Message = Value;

  static constexpr size_t kMaxLineBytes = 64 * 1024;

  ReplyCodec() : Encoder(Version::kResp3) {}

  // Errors: kInvalidArgument, which names the option, what it is and what is accepted.
  static absl::StatusOr<ReplyCodec> Create(const ReplyOptions& options);

  DecodeResult Decode(absl::Span<uint8_t> in, Value& value);

  absl::Status status() const;
  ReplyError error() const { return error_; }
  size_t max_frame_bytes() const { return max_frame_bytes_; }

  // Behind a message, which is no longer to be used: gives back lists that were long.
  void ReleaseMemory();
  // What is in use for the last message.
  size_t memory_bytes() const { return nodes_.capacity() * sizeof(internal::Node); }

 private:
  // So many values are room that a codec keeps.
  static constexpr size_t kKeptValues = 64;
  static constexpr uint32_t kStreamed = 0xffffffff;
  // ReadLength's for a "?".
  static constexpr int64_t kUnknownLength = -2;

  // An aggregate that is not whole.
  struct Unfinished {
    uint32_t node;
    uint32_t missing;  // children; kStreamed for those that end with "."
  };
  // What became of one element of the bytes.
  enum class Step : uint8_t { kTaken, kUnfinished, kFailed };

  void Begin();
  bool IsWhole() const { return open_.empty() && !in_streamed_string_ && !behind_attributes_; }
  Step TakeOne(absl::Span<uint8_t> in);
  Step TakeLine(absl::Span<const uint8_t> in, Kind kind);
  Step TakeLineText(absl::string_view text, Kind kind);
  Step TakeInteger(absl::Span<const uint8_t> in);
  Step TakeBulk(absl::Span<const uint8_t> in, Kind kind);
  Step TakeStreamedPart(absl::Span<uint8_t> in);
  Step TakeAggregate(absl::Span<const uint8_t> in, Kind kind);
  Step TakeStreamEnd(absl::Span<const uint8_t> in);

  Step ReadLength(absl::Span<const uint8_t> in, internal::NumberLine& length);
  Step CheckText(absl::Span<const uint8_t> in, const internal::NumberLine& length);
  Step Open(Kind kind, uint32_t missing, size_t end);
  bool Add(Kind kind);
  void CloseInnermost();
  Step ValueTaken(size_t end);
  Step Fail(ReplyError error, uint64_t found = 0);

  std::vector<internal::Node> nodes_;
  std::vector<Unfinished> open_;
  // Of a message that is not whole: up to where it was decoded, up to where the line that begins
  // there was searched, and which size the frame has at least, where that is known.
  uint32_t position_ = 0;
  uint32_t searched_ = 0;
  uint32_t want_ = 0;

  uint32_t max_bulk_bytes_ = 16 * 1024 * 1024;
  uint32_t max_values_ = 1024 * 1024;
  uint32_t max_depth_ = 64;
  uint32_t max_frame_bytes_ = 64 * 1024 * 1024;
  ReplyError error_ = ReplyError::kNone;
  bool in_streamed_string_ = false;  // which is the last value
  bool behind_attributes_ = false;   // a value must follow
  uint64_t found_ = 0;               // what is wrong, for status()
};

// The value as it is encoded in RESP3.
std::string DescribeMessage(const Value& value);

}  // namespace sluice::resp

#endif  // SLUICE_PROTOCOLS_RESP_REPLY_CODEC_H_
