// MessageCodec is the wire format of lxzan/socket, a Go library: text and binary messages with a
// header of names and values, compressed or not. It is a codec (protocols/codec/codec.h): no I/O.
// connection.h joins it with a Stream, and adds the heartbeat.
//
// Example:
//
//   usp::MessageCodec codec;
//   Buffer out;
//   const usp::HeaderField header[] = {{"id", "7"}};
//   codec.Encode({.header = header, .body = usp::AsBytes("hello")}, out);
//   ...
//   usp::Message message;
//   codec.Decode(in, message);  // message.text() is "hello", message.Find("id") is "7"
//
// A frame, with its numbers in little endian:
//
//   bytes  0     4        5     6            7       8              10
//         | size | version | type | compression | crypto | header size | header | body |
//
// `size` counts what follows it: 6 and the payload, which is header and body. The version is 0. The
// types are those of MessageType; compression is none, gzip or flate; crypto none, or RSA-then-AES.
// A payload is compressed as a whole, and then encrypted; the header's size is that of its JSON
// before either. Ping, pong and handshake are neither compressed nor encrypted.
//
// Where a peer of the original takes less than the format says, Encode keeps to what it takes: it
// refuses a header that is larger than the payload as it is sent, so that a message whose header
// would be is sent uncompressed; and an encrypted payload of nothing, which is sent as it is.
//
// Nothing is copied: an uncompressed message refers to `in`, where the header is unescaped in
// place. A compressed one lies in the codec's own memory until the next Decode, or ReleaseMemory;
// of that memory at most kKeptBytes are kept.
//
// Limits: header and body together have at most max_message_bytes, decompressed, and the header at
// most 65535 and max_header_fields. A compressed payload may be a little longer than that, by what
// a compressor adds to what it cannot make smaller.
//
// Errors are sticky. Without a compressor a compressed message is one, and without a cipher an
// encrypted one or a handshake. With a cipher so is a text or binary message that comes before the
// handshake is done, or is not encrypted after it.
//
// That the body of a text message is UTF-8 is not checked: the original does not promise it.
//
// Thread-compatible.

#ifndef SLUICE_PROTOCOLS_USP_MESSAGE_CODEC_H_
#define SLUICE_PROTOCOLS_USP_MESSAGE_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/usp/cipher.h"
#include "sluice/protocols/usp/compressor.h"
#include "sluice/protocols/usp/header.h"

namespace sluice::usp {

enum class MessageType : uint8_t { kText = 0, kBinary = 1, kPing = 2, kPong = 3, kHandshake = 4 };

inline absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

struct Message {
  MessageType type = MessageType::kText;
  absl::Span<const HeaderField> header = {};
  absl::Span<const uint8_t> body = {};
  // How it came. Encode goes by the codec's options.
  CompressionAlgorithm compression = CompressionAlgorithm::kNone;

  absl::string_view text() const {
    return {reinterpret_cast<const char*>(body.data()), body.size()};
  }
  absl::optional<absl::string_view> Find(absl::string_view name) const {
    return FindField(header, name);
  }
};

// One line, for messages of tests: text {"id":"7"} hello
std::string DescribeMessage(const Message& message);

struct MessageOptions {
  size_t max_message_bytes = 1024 * 1024;  // 1 to 2^30
  size_t max_header_fields = 128;
  // What compresses, and decompresses what comes: compression.h. Null: nothing does.
  const Compressor* compressor = nullptr;
  // How text and binary messages are sent that have at least so many bytes, and become smaller. The
  // original's default is gzip from 4096 on.
  CompressionAlgorithm compression = CompressionAlgorithm::kNone;
  size_t min_compress_bytes = 4096;
};

class MessageCodec {
 public:
  using Message = usp::Message;
  static constexpr size_t kKeptBytes = 4096;

  // With the default options.
  MessageCodec() = default;

  // kInvalidArgument, which names the option, what it is and what is accepted.
  static absl::StatusOr<MessageCodec> Create(const MessageOptions& options);

  // Null: no encryption. Is to outlive the codec; not to be set any more once it is used.
  void set_cipher(Cipher* cipher) { cipher_ = cipher; }

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message);

  // kInvalid: a header that is not UTF-8 or has a name twice; a handshake without a cipher; text or
  // binary before the cipher is ready. Not hindered by an error of Decode.
  template <typename Sink>
  EncodeResult Encode(const Message& message, Sink& out) const {
    Encoded encoded;
    const EncodeResult result = Prepare(message, encoded);
    if (result != EncodeResult::kEncoded) return result;
    out.Append(absl::MakeConstSpan(encoded.head));
    out.Append(AsBytes(encoded.front));
    out.Append(encoded.rest);
    return result;
  }

  // OK, kResourceExhausted for a limit, kFailedPrecondition for what this side has no compressor or
  // cipher for, kInvalidArgument for the rest.
  absl::Status status() const { return status_; }
  size_t max_frame_bytes() const;
  const MessageOptions& options() const { return options_; }

  // Gives back the memory of the last message, where it is large. That message is then no longer to
  // be used.
  void ReleaseMemory();
  // What it has for the last message.
  size_t kept_bytes() const { return plain_.capacity() + fields_.capacity() * sizeof(HeaderField); }

 private:
  static constexpr size_t kHeadBytes = 10;
  static constexpr size_t kCountedHeadBytes = 6;  // by a frame's size

  struct Head {
    uint32_t size;
    uint8_t version;
    uint8_t type;
    uint8_t compression;
    uint8_t crypto;
    uint16_t header_size;

    bool is_control() const { return type > static_cast<uint8_t>(MessageType::kBinary); }
  };
  struct Encoded {
    uint8_t head[kHeadBytes];
    std::string front;               // the header, or all of the payload where it was changed
    absl::Span<const uint8_t> rest;  // the body
  };

  static Head ReadHead(const uint8_t* bytes);
  bool CheckSize(uint32_t size);
  bool CheckHead(const Head& head);
  bool CheckCipher(const Head& head);
  bool CheckPlainSize(const Head& head, size_t size);
  bool DecodePayload(const Head& head, absl::Span<uint8_t> payload, Message& message);
  bool Decompress(CompressionAlgorithm algorithm, absl::Span<uint8_t>& payload);
  bool Fail(absl::Status status);

  size_t max_payload_bytes() const;
  EncodeResult Prepare(const Message& message, Encoded& encoded) const;
  EncodeResult CheckEncodable(const Message& message) const;
  bool MayCompress(const Message& message, size_t payload) const;
  uint8_t EncryptInto(const Message& message, Encoded& encoded) const;

  MessageOptions options_;
  Cipher* cipher_ = nullptr;
  absl::Status status_;
  std::vector<HeaderField> fields_;  // of the last message
  std::vector<uint8_t> plain_;       // its bytes, where it was compressed
};

}  // namespace sluice::usp

#endif  // SLUICE_PROTOCOLS_USP_MESSAGE_CODEC_H_
