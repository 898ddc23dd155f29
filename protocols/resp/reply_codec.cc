#include "sluice/protocols/resp/reply_codec.h"

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/charconv.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/resp/internal/options.h"

namespace sluice::resp {
namespace {

using internal::NumberLine;

// In which order these stand is for absl::from_chars to judge, which takes more than them.
bool LooksLikeDouble(absl::string_view text) {
  if (text.find_first_not_of("0123456789.eE+-") != text.npos) return false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return !text.empty() && text[0] >= '0' && text[0] <= '9';
}

bool ParseDouble(absl::string_view text, double& value) {
  const bool is_word = text == "inf" || text == "-inf" || text == "nan" || text == "-nan";
  if (!is_word && !LooksLikeDouble(text)) return false;
  if (text[0] == '+') text.remove_prefix(1);
  const absl::from_chars_result result =
      absl::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

}  // namespace

std::string DescribeMessage(const Value& value) {
  Buffer out;
  ReplyCodec().Encode(value, out);
  return out.ToString();
}

absl::StatusOr<ReplyCodec> ReplyCodec::Create(const ReplyOptions& options) {
  absl::Status status;
  internal::CheckOption("max_bulk_bytes", options.max_bulk_bytes, 0, status);
  internal::CheckOption("max_values", options.max_values, 1, status);
  internal::CheckOption("max_depth", options.max_depth, 1, status);
  internal::CheckOption("max_frame_bytes", options.max_frame_bytes, internal::kSmallestFrame,
                        status);
  if (!status.ok()) return status;
  ReplyCodec codec;
  codec.max_bulk_bytes_ = static_cast<uint32_t>(options.max_bulk_bytes);
  codec.max_values_ = static_cast<uint32_t>(options.max_values);
  codec.max_depth_ = static_cast<uint32_t>(options.max_depth);
  codec.max_frame_bytes_ = static_cast<uint32_t>(options.max_frame_bytes);
  return codec;
}

DecodeResult ReplyCodec::Decode(absl::Span<uint8_t> in, Value& value) {
  if (ABSL_PREDICT_FALSE(error_ != ReplyError::kNone)) return DecodeResult::Error();
  // Nothing behind the limit is looked at, so that the answer is the same whether it is there.
  in = in.first(std::min<size_t>(in.size(), max_frame_bytes_));
  if (position_ == 0) Begin();
  while (position_ < in.size()) {
    const Step step = TakeOne(in);
    if (step == Step::kUnfinished) break;
    if (step == Step::kFailed) return DecodeResult::Error();
    if (IsWhole()) {
      value = Value(nodes_.data(), in.data());
      searched_ = 0;
      return DecodeResult::Message(std::exchange(position_, 0));
    }
  }
  if (in.size() == max_frame_bytes_) {
    Fail(ReplyError::kFrameTooLong);
    return DecodeResult::Error();
  }
  return DecodeResult::NeedMore(std::exchange(want_, 0));
}

void ReplyCodec::ReleaseMemory() {
  if (nodes_.capacity() > kKeptValues) nodes_ = std::vector<internal::Node>();
  if (open_.capacity() > kKeptValues) open_ = std::vector<Unfinished>();
}

void ReplyCodec::Begin() {
  ReleaseMemory();
  nodes_.clear();
}

// Takes what begins at position_, where there is a byte at least.
ReplyCodec::Step ReplyCodec::TakeOne(absl::Span<uint8_t> in) {
  if (ABSL_PREDICT_FALSE(in_streamed_string_)) return TakeStreamedPart(in);
  switch (in[position_]) {
    case '+':
      return TakeLine(in, Kind::kSimpleString);
    case '-':
      return TakeLine(in, Kind::kError);
    case ':':
      return TakeInteger(in);
    case '$':
      return TakeBulk(in, Kind::kBulkString);
    case '*':
      return TakeAggregate(in, Kind::kArray);
    case '_':
      return TakeLine(in, Kind::kNull);
    case '#':
      return TakeLine(in, Kind::kBoolean);
    case ',':
      return TakeLine(in, Kind::kDouble);
    case '(':
      return TakeLine(in, Kind::kBigNumber);
    case '!':
      return TakeBulk(in, Kind::kBulkError);
    case '=':
      return TakeBulk(in, Kind::kVerbatim);
    case '%':
      return TakeAggregate(in, Kind::kMap);
    case '~':
      return TakeAggregate(in, Kind::kSet);
    case '>':
      return TakeAggregate(in, Kind::kPush);
    case '|':
      return TakeAggregate(in, Kind::kAttribute);
    case '.':
      return TakeStreamEnd(in);
    default:
      return Fail(ReplyError::kUnknownType, in[position_]);
  }
}

// What ends where its line does.

ReplyCodec::Step ReplyCodec::TakeLine(absl::Span<const uint8_t> in, Kind kind) {
  const size_t begin = position_ + size_t{1};
  const size_t limit = std::min(in.size(), position_ + kMaxLineBytes);
  const size_t from = std::max<size_t>(begin, searched_);
  const void* const found = std::memchr(in.data() + from, '\n', limit - from);
  if (found == nullptr) {
    if (limit == position_ + kMaxLineBytes) return Fail(ReplyError::kLineTooLong);
    searched_ = static_cast<uint32_t>(limit);
    return Step::kUnfinished;
  }
  const uint8_t* const text = in.data() + begin;
  const size_t size = static_cast<size_t>(static_cast<const uint8_t*>(found) - text);
  // The first CR must be the one before the LF.
  if (size == 0 || std::memchr(text, '\r', size) != text + size - 1) {
    return Fail(ReplyError::kNoLineBreak);
  }
  if (!Add(kind)) return Step::kFailed;
  nodes_.back().text = {static_cast<uint32_t>(begin), static_cast<uint32_t>(size - 1)};
  const absl::string_view line(reinterpret_cast<const char*>(text), size - 1);
  if (TakeLineText(line, kind) == Step::kFailed) return Step::kFailed;
  return ValueTaken(begin + size + 1);
}

// Of the kinds whose text means something, what it means.
ReplyCodec::Step ReplyCodec::TakeLineText(absl::string_view text, Kind kind) {
  bool right = true;
  internal::Node& node = nodes_.back();
  switch (kind) {
    case Kind::kNull:
      right = text.empty();
      break;
    case Kind::kBoolean:
      right = text == "t" || text == "f";
      node.number = text == "t" ? 1 : 0;
      break;
    case Kind::kDouble:
      right = ParseDouble(text, node.real);
      break;
    case Kind::kBigNumber:
      right = internal::IsBigNumber(text);
      break;
    default:
      break;
  }
  return right ? Step::kTaken : Fail(ReplyError::kInvalidNumber);
}

ReplyCodec::Step ReplyCodec::TakeInteger(absl::Span<const uint8_t> in) {
  size_t begin = position_ + size_t{1};
  // The protocol allows a plus sign, which Redis never sends.
  if (begin < in.size() && in[begin] == '+') {
    ++begin;
    if (begin < in.size() && in[begin] == '-') return Fail(ReplyError::kInvalidNumber);
  }
  const NumberLine number = internal::ReadNumberLine(in.data(), begin, in.size());
  if (number.state == NumberLine::State::kUnfinished) return Step::kUnfinished;
  if (number.state == NumberLine::State::kWrong) return Fail(ReplyError::kInvalidNumber);
  if (!Add(Kind::kInteger)) return Step::kFailed;
  nodes_.back().number = number.value;
  return ValueTaken(number.end);
}

// What begins with a length.

// Takes the line with the length behind the type: a number, or "?".
ReplyCodec::Step ReplyCodec::ReadLength(absl::Span<const uint8_t> in, NumberLine& length) {
  const size_t begin = position_ + size_t{1};
  if (ABSL_PREDICT_FALSE(begin < in.size() && in[begin] == '?')) {
    constexpr absl::string_view kRest = "?\r\n";
    const size_t size = std::min(in.size() - begin, kRest.size());
    if (std::memcmp(in.data() + begin, kRest.data(), size) != 0) {
      return Fail(ReplyError::kInvalidLength);
    }
    length = {NumberLine::State::kWhole, kUnknownLength, begin + size};
    return size == kRest.size() ? Step::kTaken : Step::kUnfinished;
  }
  length = internal::ReadNumberLine(in.data(), begin, in.size());
  if (length.state == NumberLine::State::kUnfinished) return Step::kUnfinished;
  const bool wrong = length.state == NumberLine::State::kWrong || length.value < -1;
  return ABSL_PREDICT_TRUE(!wrong) ? Step::kTaken : Fail(ReplyError::kInvalidLength);
}

// Whether the text of this length, and the line break behind it, are there.
ReplyCodec::Step ReplyCodec::CheckText(absl::Span<const uint8_t> in, const NumberLine& length) {
  if (length.value > int64_t{max_bulk_bytes_}) {
    return Fail(ReplyError::kBulkTooLong, static_cast<uint64_t>(length.value));
  }
  const size_t end = length.end + static_cast<size_t>(length.value) + 2;
  if (end > max_frame_bytes_) return Fail(ReplyError::kFrameTooLong);
  if (end > in.size()) {
    want_ = static_cast<uint32_t>(end);
    return Step::kUnfinished;
  }
  if (in[end - 2] != '\r' || in[end - 1] != '\n') return Fail(ReplyError::kNoLineBreak);
  return Step::kTaken;
}

ReplyCodec::Step ReplyCodec::TakeBulk(absl::Span<const uint8_t> in, Kind kind) {
  NumberLine length;
  if (const Step step = ReadLength(in, length); step != Step::kTaken) return step;
  if (length.value < 0) {
    if (kind != Kind::kBulkString) return Fail(ReplyError::kInvalidLength);
    const bool streamed = length.value == kUnknownLength;
    if (!Add(streamed ? kind : Kind::kNull)) return Step::kFailed;
    if (!streamed) return ValueTaken(length.end);
    nodes_.back().text = {static_cast<uint32_t>(length.end), 0};
    in_streamed_string_ = true;
    position_ = static_cast<uint32_t>(length.end);
    return Step::kTaken;
  }
  if (const Step step = CheckText(in, length); step != Step::kTaken) return step;
  const uint8_t* const text = in.data() + length.end;
  if (kind == Kind::kVerbatim && (length.value < 4 || text[3] != ':')) {
    return Fail(ReplyError::kInvalidVerbatim);
  }
  if (!Add(kind)) return Step::kFailed;
  nodes_.back().text = {static_cast<uint32_t>(length.end), static_cast<uint32_t>(length.value)};
  return ValueTaken(length.end + static_cast<size_t>(length.value) + 2);
}

// The part is moved to the end of those before it, over what stood between them.
ReplyCodec::Step ReplyCodec::TakeStreamedPart(absl::Span<uint8_t> in) {
  if (in[position_] != ';') return Fail(ReplyError::kInvalidStream);
  NumberLine length;
  if (const Step step = ReadLength(in, length); step != Step::kTaken) return step;
  if (length.value < 0) return Fail(ReplyError::kInvalidLength);
  if (length.value == 0) {
    in_streamed_string_ = false;
    return ValueTaken(length.end);
  }
  if (const Step step = CheckText(in, length); step != Step::kTaken) return step;
  internal::Node& node = nodes_.back();
  const size_t size = static_cast<size_t>(length.value);
  if (node.text.size + size > max_bulk_bytes_) {
    return Fail(ReplyError::kBulkTooLong, node.text.size + size);
  }
  std::memmove(in.data() + node.text.offset + node.text.size, in.data() + length.end, size);
  node.text.size += static_cast<uint32_t>(size);
  position_ = static_cast<uint32_t>(length.end + size + 2);
  return Step::kTaken;
}

// Aggregates.

ReplyCodec::Step ReplyCodec::TakeAggregate(absl::Span<const uint8_t> in, Kind kind) {
  if (kind == Kind::kPush && !open_.empty()) return Fail(ReplyError::kNestedPush);
  NumberLine length;
  if (const Step step = ReadLength(in, length); step != Step::kTaken) return step;
  if (length.value == kUnknownLength) {
    if (kind == Kind::kPush || kind == Kind::kAttribute) return Fail(ReplyError::kInvalidLength);
    return Open(kind, kStreamed, length.end);
  }
  if (length.value < 0) {
    if (kind != Kind::kArray) return Fail(ReplyError::kInvalidLength);
    return Add(Kind::kNullArray) ? ValueTaken(length.end) : Step::kFailed;
  }
  const bool in_pairs = kind == Kind::kMap || kind == Kind::kAttribute;
  const uint64_t children = static_cast<uint64_t>(length.value) * (in_pairs ? 2 : 1);
  // What is over the limit in any case is not waited for.
  if (children > max_values_ - nodes_.size()) return Fail(ReplyError::kTooManyValues);
  return Open(kind, static_cast<uint32_t>(children), length.end);
}

ReplyCodec::Step ReplyCodec::Open(Kind kind, uint32_t missing, size_t end) {
  if (open_.size() == max_depth_) return Fail(ReplyError::kTooDeep);
  if (!Add(kind)) return Step::kFailed;
  nodes_.back().children.count = missing == kStreamed ? 0 : missing;
  open_.push_back({static_cast<uint32_t>(nodes_.size() - 1), missing});
  position_ = static_cast<uint32_t>(end);
  if (missing == 0) CloseInnermost();
  return Step::kTaken;
}

ReplyCodec::Step ReplyCodec::TakeStreamEnd(absl::Span<const uint8_t> in) {
  constexpr absl::string_view kEnd = ".\r\n";
  const size_t size = std::min(in.size() - position_, kEnd.size());
  if (std::memcmp(in.data() + position_, kEnd.data(), size) != 0) {
    return Fail(ReplyError::kNoLineBreak);
  }
  if (size < kEnd.size()) return Step::kUnfinished;
  if (open_.empty() || open_.back().missing != kStreamed || behind_attributes_) {
    return Fail(ReplyError::kInvalidStream);
  }
  const internal::Node& node = nodes_[open_.back().node];
  if (node.kind == Kind::kMap && node.children.count % 2 != 0) {
    return Fail(ReplyError::kInvalidStream);
  }
  position_ += static_cast<uint32_t>(kEnd.size());
  CloseInnermost();
  return Step::kTaken;
}

bool ReplyCodec::Add(Kind kind) {
  if (ABSL_PREDICT_FALSE(nodes_.size() == max_values_)) {
    Fail(ReplyError::kTooManyValues);
    return false;
  }
  behind_attributes_ = false;
  nodes_.emplace_back().kind = kind;
  return true;
}

ReplyCodec::Step ReplyCodec::ValueTaken(size_t end) {
  position_ = static_cast<uint32_t>(end);
  if (open_.empty()) return Step::kTaken;
  Unfinished& innermost = open_.back();
  if (innermost.missing == kStreamed) {
    ++nodes_[innermost.node].children.count;
  } else if (--innermost.missing == 0) {
    CloseInnermost();
  }
  return Step::kTaken;
}

// The innermost aggregate is whole, and so are those that it was the last child of. Attributes are
// nobody's child.
void ReplyCodec::CloseInnermost() {
  while (true) {
    internal::Node& node = nodes_[open_.back().node];
    node.extent = static_cast<uint32_t>(nodes_.size()) - open_.back().node;
    open_.pop_back();
    behind_attributes_ = node.kind == Kind::kAttribute;
    if (behind_attributes_ || open_.empty()) return;
    Unfinished& outer = open_.back();
    if (outer.missing == kStreamed) {
      ++nodes_[outer.node].children.count;
      return;
    }
    if (--outer.missing > 0) return;
  }
}

// Errors.

ReplyCodec::Step ReplyCodec::Fail(ReplyError error, uint64_t found) {
  error_ = error;
  found_ = found;
  nodes_ = std::vector<internal::Node>();
  open_ = std::vector<Unfinished>();
  return Step::kFailed;
}

absl::Status ReplyCodec::status() const {
  const auto over = [](absl::string_view what, uint64_t limit, absl::string_view name) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, " is over the limit of ", limit, " (", name, ")"));
  };
  switch (error_) {
    case ReplyError::kNone:
      return absl::OkStatus();
    case ReplyError::kUnknownType:
      return absl::InvalidArgumentError(absl::StrCat(
          "a value begins with byte ", found_, "; accepted: one of + - : $ * _ # , ( ! = % ~ > |"));
    case ReplyError::kInvalidLength:
      return absl::InvalidArgumentError(
          "a length is not a number, or not one that its type can have");
    case ReplyError::kInvalidNumber:
      return absl::InvalidArgumentError(
          "an integer, double, big number, boolean or null is not written as such");
    case ReplyError::kNoLineBreak:
      return absl::InvalidArgumentError("CRLF is missing, or half of it stands in a line");
    case ReplyError::kInvalidVerbatim:
      return absl::InvalidArgumentError(
          "a verbatim string does not begin with a format and a colon");
    case ReplyError::kInvalidStream:
      return absl::InvalidArgumentError(
          "the end of a stream where none can end, or a streamed string with something else in it");
    case ReplyError::kNestedPush:
      return absl::InvalidArgumentError("a push inside another value");
    case ReplyError::kBulkTooLong:
      return over(absl::StrCat("a string of ", found_, " bytes"), max_bulk_bytes_,
                  "max_bulk_bytes");
    case ReplyError::kLineTooLong:
      return over("a line", kMaxLineBytes, "kMaxLineBytes");
    case ReplyError::kTooManyValues:
      return over("a message's number of values", max_values_, "max_values");
    case ReplyError::kTooDeep:
      return over("a message's depth", max_depth_, "max_depth");
    case ReplyError::kFrameTooLong:
      return over("a message", max_frame_bytes_, "max_frame_bytes");
  }
  return absl::OkStatus();
}

}  // namespace sluice::resp
