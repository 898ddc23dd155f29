#include "sluice/protocols/usp/zlib_frame_codec.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "absl/strings/str_cat.h"
#include "zlib.h"

namespace sluice::usp {
namespace {

constexpr int64_t kMaxMessageBytes = int64_t{1} << 30;
constexpr int64_t kMaxCompressedBytes = 0x7fffffff;
// What the empty message becomes, at the least.
constexpr int64_t kMinCompressedBytes = 8;
// What is larger is given back: of a connection's, and of a thread's.
constexpr size_t kKeptBytes = 4096;
constexpr size_t kKeptBytesOfThread = 64 * 1024;
constexpr size_t kFirstRoom = 1024;

// zlib fails for want of memory only, here.
void NeedsMemory(bool done) {
  if (!done) throw std::bad_alloc();
}

// What so many bytes become at the most, as zlib's compressBound has it.
size_t LongestStream(size_t bytes) {
  return bytes + (bytes >> 12) + (bytes >> 14) + (bytes >> 25) + 13;
}

Bytef* In(absl::Span<const uint8_t> bytes) { return const_cast<Bytef*>(bytes.data()); }

// zlib's state, which is the same after each message, and so is there once for a thread.
class Inflater {
 public:
  static z_stream& OfThread() {
    static thread_local Inflater inflater;
    inflateReset(&inflater.z_);
    return inflater.z_;
  }
  Inflater() { NeedsMemory(inflateInit(&z_) == Z_OK); }
  ~Inflater() { inflateEnd(&z_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

 private:
  z_stream z_ = {};
};

class Deflater {
 public:
  static Deflater& OfThread() {
    static thread_local Deflater deflater;
    return deflater;
  }
  Deflater() { NeedsMemory(deflateInit(&z_, level_) == Z_OK); }
  ~Deflater() { deflateEnd(&z_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // Room for a frame of so many bytes. What was there is gone.
  absl::Span<uint8_t> Room(size_t size) {
    if (size > size_ || size_ > kKeptBytesOfThread) {
      bytes_ = nullptr;  // before there is more
      bytes_.reset(new uint8_t[size]);
      size_ = size;
    }
    return absl::MakeSpan(bytes_.get(), size);
  }

  // How many bytes the message has become; 0 where they do not fit.
  size_t Compress(int level, absl::Span<const uint8_t> message, absl::Span<uint8_t> out) {
    deflateReset(&z_);
    if (level != level_) NeedsMemory(deflateParams(&z_, level, Z_DEFAULT_STRATEGY) == Z_OK);
    level_ = level;
    z_.next_in = In(message);
    z_.avail_in = static_cast<uInt>(message.size());
    z_.next_out = out.data();
    z_.avail_out = static_cast<uInt>(out.size());
    return deflate(&z_, Z_FINISH) == Z_STREAM_END ? out.size() - z_.avail_out : 0;
  }

 private:
  int level_ = Z_DEFAULT_COMPRESSION;
  z_stream z_ = {};
  std::unique_ptr<uint8_t[]> bytes_;
  size_t size_ = 0;
};

uint32_t LoadLength(const uint8_t* bytes, std::endian order) {
  uint32_t length = 0;
  for (size_t i = 0; i < 4; ++i)
    length = length << 8 | bytes[order == std::endian::big ? i : 3 - i];
  return length;
}

void StoreLength(uint8_t* bytes, std::endian order, uint32_t length) {
  for (size_t i = 0; i < 4; ++i) {
    const size_t place = order == std::endian::big ? 3 - i : i;
    bytes[place] = static_cast<uint8_t>(length >> (8 * i));
  }
}

absl::Status OutOfRange(absl::string_view option, int64_t value, absl::string_view accepted) {
  return absl::InvalidArgumentError(absl::StrCat(option, " is ", value, "; accepted: ", accepted));
}

absl::Status Validate(const ZlibFrameOptions& options) {
  if (options.max_message_bytes < 1 || options.max_message_bytes > kMaxMessageBytes)
    return OutOfRange("max_message_bytes", options.max_message_bytes, "1 to 1073741824");
  if (options.max_compressed_bytes != ZlibFrameOptions::kWhatMessagesNeed &&
      (options.max_compressed_bytes < kMinCompressedBytes ||
       options.max_compressed_bytes > kMaxCompressedBytes)) {
    return OutOfRange("max_compressed_bytes", options.max_compressed_bytes,
                      "8 to 2147483647, or 0 for what max_message_bytes need");
  }
  if (options.byte_order != std::endian::little && options.byte_order != std::endian::big)
    return absl::InvalidArgumentError("byte_order is neither little nor big");
  if (options.level < 1 || options.level > 9) return OutOfRange("level", options.level, "1 to 9");
  return absl::OkStatus();
}

absl::Status Wrong(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("a frame's zlib stream ", why));
}

}  // namespace

ZlibFrameCodec::ZlibFrameCodec() : ZlibFrameCodec(ZlibFrameOptions()) {}

absl::StatusOr<ZlibFrameCodec> ZlibFrameCodec::Create(const ZlibFrameOptions& options) {
  absl::Status valid = Validate(options);
  if (!valid.ok()) return valid;
  return ZlibFrameCodec(options);
}

ZlibFrameCodec::ZlibFrameCodec(const ZlibFrameOptions& options)
    : max_message_bytes_(static_cast<uint32_t>(options.max_message_bytes)),
      max_compressed_bytes_(static_cast<uint32_t>(options.max_compressed_bytes)),
      level_(options.level),
      byte_order_(options.byte_order) {
  if (max_compressed_bytes_ == ZlibFrameOptions::kWhatMessagesNeed)
    max_compressed_bytes_ = static_cast<uint32_t>(LongestStream(max_message_bytes_));
}

void ZlibFrameCodec::Memory::Grow(size_t size, size_t keep) {
  std::unique_ptr<uint8_t[]> bytes(new uint8_t[size]);
  if (keep != 0) std::memcpy(bytes.get(), bytes_.get(), keep);
  bytes_ = std::move(bytes);
  size_ = size;
}

void ZlibFrameCodec::Memory::Free() {
  bytes_ = nullptr;
  size_ = 0;
}

DecodeResult ZlibFrameCodec::Decode(absl::Span<uint8_t> in, Message& message) {
  ReleaseMemory();
  if (!status_.ok()) return DecodeResult::Error();
  if (in.size() < kLengthBytes) return DecodeResult::NeedMore(kLengthBytes);
  const uint32_t length = LoadLength(in.data(), byte_order_);
  if (length > max_compressed_bytes_) {
    return Fail(absl::ResourceExhaustedError(
        absl::StrCat("a frame of ", length, " compressed bytes is over the limit of ",
                     max_compressed_bytes_, " (max_compressed_bytes)")));
  }
  const size_t size = kLengthBytes + length;
  if (in.size() < size) return DecodeResult::NeedMore(size);
  absl::Status inflated = Inflate(in.subspan(kLengthBytes, length), message);
  if (!inflated.ok()) return Fail(std::move(inflated));
  return DecodeResult::Message(size);
}

void ZlibFrameCodec::ReleaseMemory() {
  if (memory_.size() > kKeptBytes) memory_.Free();
}

DecodeResult ZlibFrameCodec::Fail(absl::Status status) {
  status_ = std::move(status);
  memory_.Free();
  return DecodeResult::Error();
}

// One byte more than the limit shows that it is passed.
absl::Status ZlibFrameCodec::Inflate(absl::Span<const uint8_t> compressed, Message& message) {
  const size_t most = size_t{max_message_bytes_} + 1;
  if (memory_.size() == 0)
    memory_.Grow(std::min(most, std::max(kFirstRoom, 2 * compressed.size())), 0);
  z_stream& z = Inflater::OfThread();
  z.next_in = In(compressed);
  z.avail_in = static_cast<uInt>(compressed.size());
  size_t size = 0;
  for (;;) {
    z.next_out = memory_.data() + size;
    z.avail_out = static_cast<uInt>(std::min(memory_.size(), most) - size);
    const int result = inflate(&z, Z_FINISH);
    size = static_cast<size_t>(z.next_out - memory_.data());
    if (size == most) {
      return absl::ResourceExhaustedError(absl::StrCat("a frame's message is over the limit of ",
                                                       max_message_bytes_,
                                                       " (max_message_bytes) when decompressed"));
    }
    if (result == Z_STREAM_END) break;
    if (result == Z_MEM_ERROR) NeedsMemory(false);
    if (result == Z_NEED_DICT) return Wrong("asks for a dictionary, and there is none");
    if (result == Z_DATA_ERROR) return Wrong(absl::StrCat("is damaged: ", z.msg));
    if (z.avail_out != 0) return Wrong("ends too early");
    memory_.Grow(std::min(most, 4 * size), size);
  }
  if (z.avail_in != 0)
    return Wrong(absl::StrCat("ends ", z.avail_in, " bytes before the frame does"));
  message = absl::MakeSpan(memory_.data(), size);
  return absl::OkStatus();
}

EncodeResult ZlibFrameCodec::MakeFrame(absl::Span<const uint8_t> message,
                                       absl::Span<const uint8_t>& frame) const {
  if (message.size() > max_message_bytes_) return EncodeResult::kTooLong;
  const size_t most = std::min<size_t>(LongestStream(message.size()), max_compressed_bytes_);
  Deflater& deflater = Deflater::OfThread();
  const absl::Span<uint8_t> room = deflater.Room(kLengthBytes + most);
  const size_t size = deflater.Compress(level_, message, room.subspan(kLengthBytes));
  if (size == 0) return EncodeResult::kTooLong;
  StoreLength(room.data(), byte_order_, static_cast<uint32_t>(size));
  frame = room.first(kLengthBytes + size);
  return EncodeResult::kEncoded;
}

}  // namespace sluice::usp
