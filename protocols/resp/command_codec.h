// CommandCodec is the server's side of the Redis protocol, RESP2 and RESP3: it decodes commands and
// encodes replies (encode.h). It is a codec (protocols/codec/codec.h): no I/O; resp_stream.h joins
// it with a Stream. The client's side is ReplyCodec (reply_codec.h).
//
// Example:
//   sluice::resp::CommandCodec codec;
//   sluice::resp::Command command;
//   codec.Decode(in, command);             // "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"
//   command.size();                        // 2
//   command[1];                            // "hi", a part of `in`
//   codec.Encode([&](auto& reply) { reply.BulkString(command[1]); }, out);    // "$2\r\nhi\r\n"
//
// What it decodes is what redis-server takes: an array of bulk strings; or an inline command, a
// line of words as one types them into telnet. Words are split as Redis splits them: "..." with the
// escapes \n \r \t \b \a \xHH, '...' with \', and a closing quote stands before a space or the end.
// An array without elements and a blank line are no command, and are skipped. Whoever wants more
// types from a client than Redis does uses ReplyCodec for both sides.
//
// Limits and errors: what redis-server refuses is refused with its words ("Protocol error: invalid
// bulk length"), and so is what is over a limit of CommandOptions; error_reply() is what a server
// tells the client before it closes. A line break that is not there behind a bulk string is an
// error too, where Redis looks away. status() is kInvalidArgument, or kResourceExhausted for a
// limit.
//
// Memory: 8 bytes an argument, in a list that is kept from command to command, up to 64 arguments
// of it (ReleaseMemory, which CodecStream calls, gives back more). A command that arrives in pieces
// is looked at once: the codec remembers how far it has come.
//
// Encode takes a reply (a function with a ReplyWriter), a Value or a command. set_version is to be
// called when a client has asked for RESP3 with HELLO 3.
//
// Thread-compatible. A codec that has decoded nothing may be copied.
#ifndef SLUICE_PROTOCOLS_RESP_COMMAND_CODEC_H_
#define SLUICE_PROTOCOLS_RESP_COMMAND_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/resp/encode.h"
#include "sluice/protocols/resp/value.h"

namespace sluice::resp {

struct CommandOptions {
  int64_t max_bulk_bytes = 1024 * 1024;       // of one argument; 0 to 2^31 - 1
  int64_t max_arguments = 64 * 1024;          // with the command's name; 1 to 2^31 - 1
  int64_t max_frame_bytes = 4 * 1024 * 1024;  // of a command as it is sent; 64 to 2^31 - 1
};

namespace internal {

// A part of a frame.
struct Extent {
  uint32_t offset;
  uint32_t size;
};

}  // namespace internal

// A received command: a view, valid as long as the bytes that it was decoded from and until the
// codec's next Decode. It has at least one argument, its name.
class Command {
 public:
  class Iterator;

  Command() = default;
  Command(const uint8_t* bytes, absl::Span<const internal::Extent> arguments)
      : bytes_(bytes), arguments_(arguments) {}

  size_t size() const { return arguments_.size(); }
  absl::string_view name() const { return (*this)[0]; }
  absl::string_view operator[](size_t index) const {
    const internal::Extent argument = arguments_[index];
    return absl::string_view(reinterpret_cast<const char*>(bytes_) + argument.offset,
                             argument.size);
  }
  Iterator begin() const;
  Iterator end() const;

 private:
  const uint8_t* bytes_ = nullptr;
  absl::Span<const internal::Extent> arguments_;
};

class Command::Iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = absl::string_view;
  using difference_type = std::ptrdiff_t;
  using pointer = const absl::string_view*;
  using reference = absl::string_view;

  Iterator(const Command* command, size_t index) : command_(command), index_(index) {}
  absl::string_view operator*() const { return (*command_)[index_]; }
  Iterator& operator++() {
    ++index_;
    return *this;
  }
  friend bool operator==(const Iterator& a, const Iterator& b) { return a.index_ == b.index_; }

 private:
  const Command* command_;
  size_t index_;
};

inline Command::Iterator Command::begin() const { return Iterator(this, 0); }
inline Command::Iterator Command::end() const { return Iterator(this, size()); }

// The command as an array of bulk strings.
std::string DescribeMessage(const Command& command);

enum class CommandError : uint8_t {
  kNone,
  kInvalidCount,       // of an array: not a number, or over max_arguments
  kExpectedBulk,       // an element begins with something else than '$'
  kInvalidBulkLength,  // not a number, negative, or over max_bulk_bytes
  kNoLineBreak,        // behind a bulk string
  kUnbalancedQuotes,   // in an inline command
  kInlineTooLong,      // more than kMaxInlineBytes without a line break
  kInlineTooMany,      // more words than max_arguments, or a longer one than max_bulk_bytes
  kFrameTooLong,       // over max_frame_bytes
};

class CommandCodec : public Encoder {
 public:
  using Message = Command;

  // As in Redis.
  static constexpr size_t kMaxInlineBytes = 64 * 1024;

  CommandCodec() : Encoder(Version::kResp2) {}

  // Errors: kInvalidArgument, which names the option, what it is and what is accepted.
  static absl::StatusOr<CommandCodec> Create(const CommandOptions& options);

  DecodeResult Decode(absl::Span<uint8_t> in, Command& command);

  absl::Status status() const;
  CommandError error() const { return error_; }

  // What Redis answers in this case: "ERR Protocol error: invalid bulk length". Empty without an
  // error.
  std::string error_reply() const;

  size_t max_frame_bytes() const { return max_frame_bytes_; }

  // Behind a command, which is no longer to be used: gives back a list that was long.
  void ReleaseMemory() {
    if (ABSL_PREDICT_FALSE(arguments_.capacity() > kKeptArguments)) {
      arguments_ = std::vector<internal::Extent>();
    }
  }
  // What is in use for the last command.
  size_t memory_bytes() const { return arguments_.capacity() * sizeof(internal::Extent); }

 private:
  // So many arguments are room that a codec keeps.
  static constexpr size_t kKeptArguments = 64;

  DecodeResult DecodeArguments(absl::Span<uint8_t> in, Command& command);
  DecodeResult DecodeInline(absl::Span<uint8_t> in, Command& command);
  CommandError SplitLine(uint8_t* line, size_t size);
  void Begin();
  DecodeResult Whole(const uint8_t* in, size_t consumed, Command& command);
  DecodeResult Fail(CommandError error, int64_t found = 0);

  std::vector<internal::Extent> arguments_;
  // Of a frame that is not whole: how far it was decoded, or an inline command searched; and how
  // many arguments are still to come.
  uint32_t position_ = 0;
  uint32_t missing_ = 0;

  uint32_t max_bulk_bytes_ = 1024 * 1024;
  uint32_t max_arguments_ = 64 * 1024;
  uint32_t max_frame_bytes_ = 4 * 1024 * 1024;
  CommandError error_ = CommandError::kNone;
  int64_t found_ = 0;  // what is wrong, for status()
};

}  // namespace sluice::resp

#endif  // SLUICE_PROTOCOLS_RESP_COMMAND_CODEC_H_
