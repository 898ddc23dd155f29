#include "sluice/protocols/resp/command_codec.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/resp/internal/number.h"
#include "sluice/protocols/resp/internal/options.h"
#include "sluice/protocols/resp/internal/word.h"

namespace sluice::resp {

using internal::NumberLine;

std::string DescribeMessage(const Command& command) {
  Buffer out;
  internal::EncodeCommand(command, out);
  return out.ToString();
}

absl::StatusOr<CommandCodec> CommandCodec::Create(const CommandOptions& options) {
  absl::Status status;
  internal::CheckOption("max_bulk_bytes", options.max_bulk_bytes, 0, status);
  internal::CheckOption("max_arguments", options.max_arguments, 1, status);
  internal::CheckOption("max_frame_bytes", options.max_frame_bytes, internal::kSmallestFrame,
                        status);
  if (!status.ok()) return status;
  CommandCodec codec;
  codec.max_bulk_bytes_ = static_cast<uint32_t>(options.max_bulk_bytes);
  codec.max_arguments_ = static_cast<uint32_t>(options.max_arguments);
  codec.max_frame_bytes_ = static_cast<uint32_t>(options.max_frame_bytes);
  return codec;
}

DecodeResult CommandCodec::Decode(absl::Span<uint8_t> in, Command& command) {
  if (ABSL_PREDICT_FALSE(error_ != CommandError::kNone)) return DecodeResult::Error();
  if (ABSL_PREDICT_FALSE(in.empty())) return DecodeResult::NeedMore(0);
  // Nothing behind the limit is looked at, so that the answer is the same whether it is there.
  in = in.first(std::min<size_t>(in.size(), max_frame_bytes_));
  if (position_ == 0) Begin();
  return ABSL_PREDICT_TRUE(in[0] == '*') ? DecodeArguments(in, command) : DecodeInline(in, command);
}

void CommandCodec::Begin() {
  ReleaseMemory();
  arguments_.clear();
}

DecodeResult CommandCodec::Whole(const uint8_t* in, size_t consumed, Command& command) {
  position_ = 0;
  if (arguments_.empty()) return DecodeResult::Skipped(consumed);
  command = Command(in, arguments_);
  return DecodeResult::Message(consumed);
}

DecodeResult CommandCodec::DecodeArguments(absl::Span<uint8_t> in, Command& command) {
  const uint8_t* const bytes = in.data();
  const size_t size = in.size();
  size_t at = position_;
  if (at == 0) {
    const NumberLine count = internal::ReadNumberLine(bytes, 1, size);
    if (count.state == NumberLine::State::kUnfinished) return DecodeResult::NeedMore(0);
    if (count.state == NumberLine::State::kWrong) return Fail(CommandError::kInvalidCount);
    if (count.value > int64_t{max_arguments_}) {
      return Fail(CommandError::kInvalidCount, count.value);
    }
    at = count.end;
    missing_ = static_cast<uint32_t>(std::max<int64_t>(count.value, 0));
  }
  size_t want = 0;
  for (; missing_ > 0; --missing_) {
    if (at == size) break;
    if (ABSL_PREDICT_FALSE(bytes[at] != '$')) return Fail(CommandError::kExpectedBulk, bytes[at]);
    const NumberLine length = internal::ReadNumberLine(bytes, at + 1, size);
    if (length.state == NumberLine::State::kUnfinished) break;
    if (ABSL_PREDICT_FALSE(length.state == NumberLine::State::kWrong || length.value < 0)) {
      return Fail(CommandError::kInvalidBulkLength);
    }
    if (ABSL_PREDICT_FALSE(length.value > int64_t{max_bulk_bytes_})) {
      return Fail(CommandError::kInvalidBulkLength, length.value);
    }
    const size_t text_end = length.end + static_cast<size_t>(length.value);
    if (ABSL_PREDICT_FALSE(text_end + 2 > max_frame_bytes_)) {
      return Fail(CommandError::kFrameTooLong);
    }
    if (ABSL_PREDICT_FALSE(text_end + 2 > size)) {
      want = text_end + 2;
      break;
    }
    if (ABSL_PREDICT_FALSE(bytes[text_end] != '\r' || bytes[text_end + 1] != '\n')) {
      return Fail(CommandError::kNoLineBreak);
    }
    arguments_.push_back({static_cast<uint32_t>(length.end), static_cast<uint32_t>(length.value)});
    at = text_end + 2;
  }
  if (ABSL_PREDICT_TRUE(missing_ == 0)) return Whole(bytes, at, command);
  if (ABSL_PREDICT_FALSE(size == max_frame_bytes_)) return Fail(CommandError::kFrameTooLong);
  position_ = static_cast<uint32_t>(at);
  return DecodeResult::NeedMore(want);
}

DecodeResult CommandCodec::DecodeInline(absl::Span<uint8_t> in, Command& command) {
  in = in.first(std::min(in.size(), kMaxInlineBytes));
  const void* const found = std::memchr(in.data() + position_, '\n', in.size() - position_);
  if (found == nullptr) {
    if (in.size() == kMaxInlineBytes) return Fail(CommandError::kInlineTooLong);
    if (in.size() == max_frame_bytes_) return Fail(CommandError::kFrameTooLong);
    position_ = static_cast<uint32_t>(in.size());
    return DecodeResult::NeedMore(0);
  }
  const size_t line = static_cast<size_t>(static_cast<const uint8_t*>(found) - in.data());
  const size_t size = line > 0 && in[line - 1] == '\r' ? line - 1 : line;
  const CommandError error = SplitLine(in.data(), size);
  if (error != CommandError::kNone) return Fail(error);
  return Whole(in.data(), line + 1, command);
}

// The words are unescaped where they stand: none becomes longer by that.
CommandError CommandCodec::SplitLine(uint8_t* line, size_t size) {
  size_t at = 0;
  while (true) {
    while (at < size && absl::ascii_isspace(line[at])) ++at;
    if (at == size) return CommandError::kNone;
    const internal::Word word = internal::ReadWord(line, at, size);
    if (!word.balanced) return CommandError::kUnbalancedQuotes;
    if (arguments_.size() == max_arguments_ || word.size > max_bulk_bytes_) {
      return CommandError::kInlineTooMany;
    }
    arguments_.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(word.size)});
    at = word.end;
  }
}

DecodeResult CommandCodec::Fail(CommandError error, int64_t found) {
  error_ = error;
  found_ = found;
  arguments_ = std::vector<internal::Extent>();
  return DecodeResult::Error();
}

std::string CommandCodec::error_reply() const {
  switch (error_) {
    case CommandError::kNone:
      return "";
    case CommandError::kInvalidCount:
      return "ERR Protocol error: invalid multibulk length";
    case CommandError::kExpectedBulk:
      return absl::StrCat("ERR Protocol error: expected '$', got '",
                          std::string(1, static_cast<char>(found_)), "'");
    case CommandError::kInvalidBulkLength:
      return "ERR Protocol error: invalid bulk length";
    case CommandError::kNoLineBreak:
      return "ERR Protocol error: expected CRLF behind a bulk string";
    case CommandError::kUnbalancedQuotes:
      return "ERR Protocol error: unbalanced quotes in request";
    case CommandError::kInlineTooLong:
    case CommandError::kInlineTooMany:
      return "ERR Protocol error: too big inline request";
    case CommandError::kFrameTooLong:
      return "ERR Protocol error: too big mbulk request";
  }
  return "";
}

absl::Status CommandCodec::status() const {
  const auto over = [](absl::string_view what, int64_t limit, absl::string_view name) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, " is over the limit of ", limit, " (", name, ")"));
  };
  switch (error_) {
    case CommandError::kNone:
      return absl::OkStatus();
    case CommandError::kInvalidCount:
      if (found_ == 0) return absl::InvalidArgumentError("a command's length is not a number");
      return over(absl::StrCat("a command of ", found_, " arguments"), max_arguments_,
                  "max_arguments");
    case CommandError::kExpectedBulk:
      return absl::InvalidArgumentError(absl::StrCat("an argument of a command begins with byte ",
                                                     found_, " instead of '$' (36)"));
    case CommandError::kInvalidBulkLength:
      if (found_ == 0) {
        return absl::InvalidArgumentError("an argument's length is not a number, or negative");
      }
      return over(absl::StrCat("an argument of ", found_, " bytes"), max_bulk_bytes_,
                  "max_bulk_bytes");
    case CommandError::kNoLineBreak:
      return absl::InvalidArgumentError("an argument is not followed by CRLF");
    case CommandError::kUnbalancedQuotes:
      return absl::InvalidArgumentError("unbalanced quotes in an inline command");
    case CommandError::kInlineTooLong:
      return over("an inline command", static_cast<int64_t>(kMaxInlineBytes), "kMaxInlineBytes");
    case CommandError::kInlineTooMany:
      return absl::ResourceExhaustedError(
          absl::StrCat("an inline command has more than ", max_arguments_,
                       " words (max_arguments), or one of more than ", max_bulk_bytes_,
                       " bytes (max_bulk_bytes)"));
    case CommandError::kFrameTooLong:
      return over("a command", max_frame_bytes_, "max_frame_bytes");
  }
  return absl::OkStatus();
}

}  // namespace sluice::resp
