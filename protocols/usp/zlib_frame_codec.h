// ZlibFrameCodec speaks the form that the older Python port of the protocol has on the wire: four
// bytes with a length, little endian, and so many bytes that are one zlib stream (RFC 1950). What
// it decompresses to is the message; requests and responses look alike, and there is nothing else:
// no type, no header, no heartbeat. It is a codec (protocols/codec/codec.h): no I/O.
// zlib_frame_stream.h joins it with a Stream.
//
// Example:
//   sluice::usp::ZlibFrameCodec codec;
//   sluice::Buffer out;
//   codec.Encode("hello", out);      // 0D 00 00 00 78 5E CB 48 CD C9 C9 07 00 06 2C 02 15
//   absl::Span<uint8_t> message;
//   codec.Decode(in, message);       // message is "hello"
//
// The length counts the compressed bytes and not itself. The port writes it in the byte order of
// its machine, which is little endian nearly everywhere; for a peer elsewhere there is an option.
//
// Three things to know of the port itself. It takes an empty message for the end of the connection:
// it reads no more from it, and does not close it either. It reads wrongly what arrives in pieces,
// so that it can be relied on for messages only that fit into a segment or two. And it ends when it
// gets a stream that is damaged. Nothing of that is so here.
//
// A message lies in the codec, until the next call of Decode, ReleaseMemory (which a CodecStream
// calls after each message) or the codec's end. Memory: the last message's, at most
// max_message_bytes, of which at most 4 KiB are kept beyond that; a copied codec has none. A
// thread that has decoded or encoded keeps zlib's state (some 40 KiB and 256 KiB) for all its
// codecs.
//
// Limits: max_compressed_bytes is checked as soon as the length is there. Nothing is decompressed
// beyond max_message_bytes, whatever it would become. Errors (status()) are sticky:
//   kResourceExhausted  one of the limits, which it names
//   kInvalidArgument    no zlib stream, a damaged one, one that ends too early or before the frame
//                       does, one with the wrong checksum or a dictionary that nobody has
//
// Compression before encryption can tell who sees the sizes of messages what is in them, where one
// message has both a secret and something of an attacker's choice.
//
// Thread-compatible.

#ifndef SLUICE_PROTOCOLS_USP_ZLIB_FRAME_CODEC_H_
#define SLUICE_PROTOCOLS_USP_ZLIB_FRAME_CODEC_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/codec/codec.h"

namespace sluice::usp {

struct ZlibFrameOptions {
  // For max_compressed_bytes: as much as zlib makes of max_message_bytes at the most, which is a
  // little more than those.
  static constexpr int64_t kWhatMessagesNeed = 0;

  int64_t max_message_bytes = 1024 * 1024;           // 1 to 2^30
  int64_t max_compressed_bytes = kWhatMessagesNeed;  // or 8 to 2^31 - 1
  std::endian byte_order = std::endian::little;      // of the length
  int level = 5;  // from 1, fast, to 9, small; the port's is 5. A receiver need not know it.
};

class ZlibFrameCodec {
 public:
  using Message = absl::Span<uint8_t>;

  // Little endian, level 5, messages of at most 1 MiB.
  ZlibFrameCodec();

  // Errors: kInvalidArgument, which names the option, what it is and what is accepted.
  static absl::StatusOr<ZlibFrameCodec> Create(const ZlibFrameOptions& options);

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message);

  // Appends the message's frame to `out`: a Buffer, or what has its Append functions. kTooLong for
  // more than max_message_bytes, and for what becomes more than max_compressed_bytes. Not hindered
  // by an error of Decode.
  template <typename Sink>
  EncodeResult Encode(absl::Span<const uint8_t> message, Sink& out) const {
    absl::Span<const uint8_t> frame;
    const EncodeResult result = MakeFrame(message, frame);
    if (result == EncodeResult::kEncoded) out.Append(frame);
    return result;
  }
  template <typename Sink>
  EncodeResult Encode(absl::string_view message, Sink& out) const {
    return Encode(
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(message.data()), message.size()), out);
  }

  absl::Status status() const { return status_; }

  size_t max_frame_bytes() const { return kLengthBytes + max_compressed_bytes_; }
  size_t max_message_bytes() const { return max_message_bytes_; }

  // Gives back the memory of the last message, where it is large. That message is then no longer to
  // be used.
  void ReleaseMemory();
  // What is in use for the last message.
  size_t memory_bytes() const { return memory_.size(); }

 private:
  static constexpr size_t kLengthBytes = 4;

  explicit ZlibFrameCodec(const ZlibFrameOptions& options);

  // A codec's own bytes, which a copy does not share.
  class Memory {
   public:
    Memory() = default;
    Memory(const Memory&) {}
    Memory(Memory&& other) noexcept { *this = std::move(other); }
    Memory& operator=(const Memory&) {
      Free();
      return *this;
    }
    Memory& operator=(Memory&& other) noexcept {
      bytes_ = std::move(other.bytes_);
      size_ = std::exchange(other.size_, 0);
      return *this;
    }

    uint8_t* data() const { return bytes_.get(); }
    size_t size() const { return size_; }
    void Grow(size_t size, size_t keep);
    void Free();

   private:
    std::unique_ptr<uint8_t[]> bytes_;
    size_t size_ = 0;
  };

  // The frame of a message, which lies in the thread's memory until the next call.
  EncodeResult MakeFrame(absl::Span<const uint8_t> message, absl::Span<const uint8_t>& frame) const;
  absl::Status Inflate(absl::Span<const uint8_t> compressed, Message& message);
  DecodeResult Fail(absl::Status status);

  uint32_t max_message_bytes_;
  uint32_t max_compressed_bytes_;
  int level_;
  std::endian byte_order_;
  absl::Status status_;
  Memory memory_;
};

static_assert(ByteCodec<ZlibFrameCodec>);

}  // namespace sluice::usp

#endif  // SLUICE_PROTOCOLS_USP_ZLIB_FRAME_CODEC_H_
