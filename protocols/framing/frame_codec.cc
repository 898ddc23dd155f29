#include "sluice/protocols/framing/frame_codec.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace sluice::framing {
namespace {

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();
constexpr int64_t kInt32Min = std::numeric_limits<int32_t>::min();
constexpr uint64_t kInt64Max = std::numeric_limits<int64_t>::max();

uint64_t LoadBig(const uint8_t* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | bytes[i];
  return value;
}

uint64_t LoadLittle(const uint8_t* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i > 0; --i) value = value << 8 | bytes[i - 1];
  return value;
}

// With the size known here, each becomes one or two instructions.
uint64_t LoadFixed(const uint8_t* bytes, size_t size, ByteOrder order) {
  const bool big = order == ByteOrder::kBigEndian;
  switch (size) {
    case 1:
      return bytes[0];
    case 2:
      return big ? LoadBig(bytes, 2) : LoadLittle(bytes, 2);
    case 3:
      return big ? LoadBig(bytes, 3) : LoadLittle(bytes, 3);
    case 4:
      return big ? LoadBig(bytes, 4) : LoadLittle(bytes, 4);
    default:
      return big ? LoadBig(bytes, 8) : LoadLittle(bytes, 8);
  }
}

void StoreFixed(uint8_t* bytes, size_t size, ByteOrder order, uint64_t value) {
  for (size_t i = 0; i < size; ++i) {
    const size_t place = order == ByteOrder::kBigEndian ? size - 1 - i : i;
    bytes[place] = static_cast<uint8_t>(value >> (8 * i));
  }
}

uint8_t StoreVarint(uint8_t* bytes, uint64_t value) {
  uint8_t size = 0;
  while (value >= 0x80) {
    bytes[size++] = static_cast<uint8_t>(value | 0x80);
    value >>= 7;
  }
  bytes[size++] = static_cast<uint8_t>(value);
  return size;
}

uint64_t LargestIn(int length_bytes) {
  if (length_bytes == FrameOptions::kVarint || length_bytes == 8) return kInt64Max;
  return (uint64_t{1} << (8 * length_bytes)) - 1;
}

struct Varint {
  size_t size;  // 0: it goes on behind the bytes that are there
  uint64_t value;
  FrameError error;
};

Varint LoadVarint(absl::Span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint64_t byte = bytes[i];
    if (i == 9 && byte > 1) {
      return {0, 0, byte >= 0x80 ? FrameError::kVarintTooLong : FrameError::kLengthOverflow};
    }
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      const bool padded = byte == 0 && i > 0;
      return {i + 1, value, padded ? FrameError::kVarintPadded : FrameError::kNone};
    }
  }
  return {0, 0, FrameError::kNone};
}

absl::Status OutOfRange(absl::string_view option, int64_t value, absl::string_view accepted) {
  return absl::InvalidArgumentError(absl::StrCat(option, " is ", value, "; accepted: ", accepted));
}

absl::Status Validate(const FrameOptions& options) {
  switch (options.length_bytes) {
    case FrameOptions::kVarint:
    case 1:
    case 2:
    case 3:
    case 4:
    case 8:
      break;
    default:
      return OutOfRange("length_bytes", options.length_bytes, "1, 2, 3, 4, 8, or 0 for a varint");
  }
  if (options.length_offset < 0 || options.length_offset > 65535) {
    return OutOfRange("length_offset", options.length_offset, "0 to 65535");
  }
  if (options.length_adjustment < kInt32Min || options.length_adjustment > kInt32Max) {
    return OutOfRange("length_adjustment", options.length_adjustment, "-2147483648 to 2147483647");
  }
  if (options.bytes_to_strip < FrameOptions::kThroughLength || options.bytes_to_strip > kInt32Max) {
    return OutOfRange("bytes_to_strip", options.bytes_to_strip,
                      "0 to 2147483647, or -1 for all up to and including the length");
  }
  if (options.max_message_bytes < 1 || options.max_message_bytes > kInt32Max) {
    return OutOfRange("max_message_bytes", options.max_message_bytes, "1 to 2147483647");
  }
  // Options that are each fine, but together leave no frame that could be right.
  const uint64_t largest = LargestIn(options.length_bytes);
  if (options.length_adjustment < 0 &&
      largest < static_cast<uint64_t>(-options.length_adjustment)) {
    return OutOfRange("length_adjustment", options.length_adjustment,
                      absl::StrCat("-", largest, " or more, since a length of ",
                                   options.length_bytes, " byte(s) is at most ", largest));
  }
  const int64_t shortest_length =
      options.length_bytes == FrameOptions::kVarint ? 1 : options.length_bytes;
  const int64_t shortest_frame =
      options.length_offset + shortest_length + std::max<int64_t>(options.length_adjustment, 0);
  const int64_t stripped = options.bytes_to_strip == FrameOptions::kThroughLength
                               ? options.length_offset + shortest_length
                               : options.bytes_to_strip;
  if (shortest_frame - stripped > options.max_message_bytes) {
    return OutOfRange("max_message_bytes", options.max_message_bytes,
                      absl::StrCat(shortest_frame - stripped,
                                   " or more, which the shortest message has with these options"));
  }
  return absl::OkStatus();
}

// Whether a frame can be made of its message again: nothing but the length was stripped.
bool CanEncode(const FrameOptions& options) {
  if (options.bytes_to_strip == 0) return true;
  if (options.length_offset != 0) return false;
  // Of a varint, a fixed number of bytes may be only a part.
  return options.bytes_to_strip == FrameOptions::kThroughLength ||
         (options.length_bytes != FrameOptions::kVarint &&
          options.bytes_to_strip <= options.length_bytes);
}

}  // namespace

absl::StatusOr<FrameCodec> FrameCodec::Create(const FrameOptions& options) {
  absl::Status valid = Validate(options);
  if (!valid.ok()) return valid;
  FrameCodec codec;
  codec.max_message_bytes_ = static_cast<uint32_t>(options.max_message_bytes);
  codec.length_adjustment_ = static_cast<int32_t>(options.length_adjustment);
  codec.bytes_to_strip_ = static_cast<int32_t>(options.bytes_to_strip);
  codec.length_offset_ = static_cast<uint16_t>(options.length_offset);
  codec.length_bytes_ = static_cast<uint8_t>(options.length_bytes);
  codec.byte_order_ = options.byte_order;
  codec.can_encode_ = CanEncode(options);
  const bool strips_length =
      options.bytes_to_strip == FrameOptions::kThroughLength || options.bytes_to_strip == 4;
  const bool is_default =
      options.length_bytes == 4 && options.byte_order == ByteOrder::kBigEndian &&
      options.length_offset == 0 && options.length_adjustment == 0 && strips_length;
  codec.decodes_default_ = is_default;
  codec.encodes_default_ = is_default;
  return codec;
}

DecodeResult FrameCodec::DecodeGeneral(absl::Span<uint8_t> in, Message& message) {
  if (error_ != FrameError::kNone) return DecodeResult::Error();

  size_t length_end = size_t{length_offset_} + length_bytes_;
  if (in.size() < length_end) return DecodeResult::NeedMore(length_end);
  uint64_t length;
  if (length_bytes_ == FrameOptions::kVarint) {
    const Varint varint = LoadVarint(in.subspan(length_offset_));
    if (varint.error != FrameError::kNone) return Fail(varint.error, varint.value);
    if (varint.size == 0) return DecodeResult::NeedMore(in.size() + 1);
    length = varint.value;
    length_end += varint.size;
  } else {
    length = LoadFixed(in.data() + length_offset_, length_bytes_, byte_order_);
  }

  // No sum here passes 2^64: the other terms have 32 bits.
  if (length > kInt64Max) return Fail(FrameError::kLengthOverflow, length);
  const int64_t adjustment = length_adjustment_;
  if (adjustment < 0 && length < static_cast<uint64_t>(-adjustment)) {
    return Fail(FrameError::kTooShort, length);
  }
  const uint64_t frame_size = length + static_cast<uint64_t>(adjustment) + length_end;
  const uint64_t stripped =
      bytes_to_strip_ < 0 ? length_end : static_cast<uint64_t>(bytes_to_strip_);
  if (stripped > frame_size) return Fail(FrameError::kStripBeyondFrame, frame_size);
  const uint64_t message_size = frame_size - stripped;
  if (message_size > max_message_bytes_) return Fail(FrameError::kTooLong, message_size);

  if (in.size() < frame_size) return DecodeResult::NeedMore(frame_size);
  message = in.subspan(stripped, message_size);
  return DecodeResult::Message(frame_size);
}

EncodeResult FrameCodec::MakeGeneralLayout(size_t size, absl::Span<const uint8_t> front,
                                           Layout& layout) const {
  if (!can_encode_) return EncodeResult::kInvalid;
  if (size > max_message_bytes_) return EncodeResult::kTooLong;
  const bool varint = length_bytes_ == FrameOptions::kVarint;

  // Where the message goes on behind the length field, of which it may hold all or the end.
  layout.keep_front = 0;
  layout.resume = 0;
  if (bytes_to_strip_ == 0) {
    layout.keep_front = length_offset_;
    layout.resume = size_t{length_offset_} + length_bytes_;
    if (size < layout.resume) return EncodeResult::kInvalid;
    if (varint) {
      const size_t held = LoadVarint(front.subspan(length_offset_)).size;
      if (held == 0) return EncodeResult::kInvalid;
      layout.resume += held;
    }
  } else if (bytes_to_strip_ > 0) {
    layout.resume = length_bytes_ - static_cast<size_t>(bytes_to_strip_);
    if (size < layout.resume) return EncodeResult::kInvalid;
  }

  const size_t rest = size - layout.resume;
  const int64_t length = static_cast<int64_t>(rest) - length_adjustment_;
  if (length < 0) return EncodeResult::kInvalid;
  if (static_cast<uint64_t>(length) > LargestIn(length_bytes_)) return EncodeResult::kTooLong;
  if (varint) {
    layout.length_size = StoreVarint(layout.length, static_cast<uint64_t>(length));
  } else {
    layout.length_size = length_bytes_;
    StoreFixed(layout.length, length_bytes_, byte_order_, static_cast<uint64_t>(length));
  }
  // A varint that the message holds may have become longer.
  if (bytes_to_strip_ == 0 && layout.keep_front + layout.length_size + rest > max_message_bytes_) {
    return EncodeResult::kTooLong;
  }
  return EncodeResult::kEncoded;
}

size_t FrameCodec::max_frame_bytes() const {
  const bool varint = length_bytes_ == FrameOptions::kVarint;
  const size_t longest_header = size_t{length_offset_} + (varint ? kMaxLengthBytes : length_bytes_);
  const size_t stripped =
      bytes_to_strip_ < 0 ? longest_header : static_cast<size_t>(bytes_to_strip_);
  return std::max(max_message_bytes_ + stripped, longest_header);
}

DecodeResult FrameCodec::Fail(FrameError error, uint64_t found) {
  error_ = error;
  found_ = found;
  decodes_default_ = false;
  return DecodeResult::Error();
}

absl::Status FrameCodec::status() const {
  switch (error_) {
    case FrameError::kNone:
      return absl::OkStatus();
    case FrameError::kTooLong:
      return absl::ResourceExhaustedError(absl::StrCat("a frame's message of ", found_,
                                                       " bytes is over the limit of ",
                                                       max_message_bytes_, " (max_message_bytes)"));
    case FrameError::kTooShort:
      return absl::InvalidArgumentError(
          absl::StrCat("a frame's length of ", found_, ", adjusted by ", length_adjustment_,
                       ", ends the frame before its length field does"));
    case FrameError::kStripBeyondFrame:
      return absl::InvalidArgumentError(absl::StrCat("a frame of ", found_,
                                                     " bytes is shorter than the ", bytes_to_strip_,
                                                     " to strip (bytes_to_strip)"));
    case FrameError::kLengthOverflow:
      return absl::InvalidArgumentError(
          absl::StrCat("a frame's length is 2^63 or more, over the limit of ", max_message_bytes_,
                       " (max_message_bytes)"));
    case FrameError::kVarintTooLong:
      return absl::InvalidArgumentError("a frame's length is a varint of more than 10 bytes");
    case FrameError::kVarintPadded:
      return absl::InvalidArgumentError(
          absl::StrCat("a frame's length of ", found_, " is a varint of more bytes than it needs"));
  }
  return absl::InternalError("a frame error that has no text");
}

}  // namespace sluice::framing
