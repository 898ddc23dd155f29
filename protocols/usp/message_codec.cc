#include "sluice/protocols/usp/message_codec.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/usp/cipher.h"
#include "sluice/protocols/usp/compressor.h"
#include "sluice/protocols/usp/header.h"

namespace sluice::usp {
namespace {

constexpr size_t kMaxMessageBytes = size_t{1} << 30;
constexpr size_t kMaxHeaderBytes = 65535;
constexpr uint8_t kVersion = 0;
constexpr uint8_t kRsaThenAes = 1;

const char* TypeName(MessageType type) {
  switch (type) {
    case MessageType::kText:
      return "text";
    case MessageType::kBinary:
      return "binary";
    case MessageType::kPing:
      return "ping";
    case MessageType::kPong:
      return "pong";
    case MessageType::kHandshake:
      return "handshake";
  }
  return "unknown";
}

absl::string_view AlgorithmName(CompressionAlgorithm algorithm) {
  switch (algorithm) {
    case CompressionAlgorithm::kNone:
      return "none";
    case CompressionAlgorithm::kGzip:
      return "gzip";
    case CompressionAlgorithm::kFlate:
      return "flate";
  }
  return "unknown";
}

bool IsControl(MessageType type) { return type > MessageType::kBinary; }

// A kind of number that frames have, and what is accepted of it.
absl::Status Unknown(absl::string_view what, uint8_t value, absl::string_view accepted) {
  return absl::InvalidArgumentError(
      absl::StrCat("a message with ", what, " ", value, "; accepted: ", accepted));
}

}  // namespace

std::string DescribeMessage(const Message& message) {
  std::string text = absl::StrCat(TypeName(message.type), " ");
  if (!message.header.empty()) {
    AppendHeader(message.header, text);
    text += ' ';
  }
  absl::StrAppend(&text, absl::CHexEscape(message.text()));
  return text;
}

absl::StatusOr<MessageCodec> MessageCodec::Create(const MessageOptions& options) {
  if (options.max_message_bytes < 1 || options.max_message_bytes > kMaxMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_message_bytes is ", options.max_message_bytes, "; accepted: 1 to ", kMaxMessageBytes));
  }
  if (options.compression > CompressionAlgorithm::kFlate) {
    return absl::InvalidArgumentError(absl::StrCat(
        "compression is ", static_cast<int>(options.compression), "; accepted: none, gzip, flate"));
  }
  if (options.compression != CompressionAlgorithm::kNone && options.compressor == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "compression is ", AlgorithmName(options.compression), ", and there is no compressor"));
  }
  MessageCodec codec;
  codec.options_ = options;
  return codec;
}

// Decoding.

// What a deflate stream adds to what it cannot make smaller is 5 bytes for each of its stored
// blocks, which have at least some 16 KiB; and gzip's frame, and a cipher's padding.
size_t MessageCodec::max_payload_bytes() const {
  return options_.max_message_bytes + options_.max_message_bytes / 1024 + 128;
}

size_t MessageCodec::max_frame_bytes() const { return kHeadBytes + max_payload_bytes(); }

bool MessageCodec::Fail(absl::Status status) {
  status_ = std::move(status);
  return false;
}

MessageCodec::Head MessageCodec::ReadHead(const uint8_t* bytes) {
  Head head;
  head.size = uint32_t{bytes[0]} | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 |
              uint32_t{bytes[3]} << 24;
  head.version = bytes[4];
  head.type = bytes[5];
  head.compression = bytes[6];
  head.crypto = bytes[7];
  head.header_size = static_cast<uint16_t>(bytes[8] | bytes[9] << 8);
  return head;
}

bool MessageCodec::CheckSize(uint32_t size) {
  if (size < kCountedHeadBytes)
    return Fail(absl::InvalidArgumentError(
        absl::StrCat("a message of size ", size, "; it has at least ", kCountedHeadBytes)));
  if (size - kCountedHeadBytes > max_payload_bytes())
    return Fail(absl::ResourceExhaustedError(
        absl::StrCat("a message of ", size - kCountedHeadBytes, " bytes is over the limit of ",
                     options_.max_message_bytes, " (max_message_bytes)")));
  return true;
}

bool MessageCodec::CheckHead(const Head& head) {
  if (head.version != kVersion) return Fail(Unknown("version", head.version, "0"));
  if (head.type > static_cast<uint8_t>(MessageType::kHandshake))
    return Fail(
        Unknown("type", head.type, "0 (text), 1 (binary), 2 (ping), 3 (pong), 4 (handshake)"));
  if (head.compression > static_cast<uint8_t>(CompressionAlgorithm::kFlate))
    return Fail(Unknown("compression", head.compression, "0 (none), 1 (gzip), 2 (flate)"));
  if (head.crypto > kRsaThenAes)
    return Fail(Unknown("crypto", head.crypto, "0 (none), 1 (RSA-then-AES)"));
  const char* const type = TypeName(static_cast<MessageType>(head.type));
  if (head.is_control() && (head.compression != 0 || head.crypto != 0))
    return Fail(absl::InvalidArgumentError(
        absl::StrCat("a ", type, " message that is compressed or encrypted")));
  if (head.compression != 0 && options_.compressor == nullptr) {
    const auto algorithm = static_cast<CompressionAlgorithm>(head.compression);
    return Fail(absl::FailedPreconditionError(absl::StrCat(
        "a message compressed by ", AlgorithmName(algorithm), ", and there is no compressor")));
  }
  if (!CheckCipher(head)) return false;
  return head.compression != 0 || head.crypto != 0 ||
         CheckPlainSize(head, head.size - kCountedHeadBytes);
}

bool MessageCodec::CheckCipher(const Head& head) {
  if (cipher_ == nullptr) {
    if (head.crypto != 0)
      return Fail(absl::FailedPreconditionError(
          "a message encrypted by RSA-then-AES, and encryption is off (there is no cipher)"));
    if (head.type == static_cast<uint8_t>(MessageType::kHandshake))
      return Fail(absl::FailedPreconditionError(
          "a handshake message, and encryption is off (there is no cipher)"));
    return true;
  }
  if (head.is_control()) return true;
  if (!cipher_->ready())
    return Fail(absl::InvalidArgumentError("a text or binary message before the handshake"));
  if (head.crypto == 0 && head.size > kCountedHeadBytes)
    return Fail(absl::InvalidArgumentError("a message that is not encrypted, after a handshake"));
  return true;
}

bool MessageCodec::CheckPlainSize(const Head& head, size_t size) {
  if (size > options_.max_message_bytes)
    return Fail(absl::ResourceExhaustedError(
        absl::StrCat("a message of ", size, " bytes is over the limit of ",
                     options_.max_message_bytes, " (max_message_bytes)")));
  if (head.header_size > size)
    return Fail(absl::InvalidArgumentError(absl::StrCat(
        "a message whose header has ", head.header_size, " bytes, of ", size, " with its body")));
  return true;
}

bool MessageCodec::Decompress(CompressionAlgorithm algorithm, absl::Span<uint8_t>& payload) {
  switch (options_.compressor->Decompress(algorithm, payload, options_.max_message_bytes, plain_)) {
    case Compressor::Outcome::kDone:
      payload = absl::MakeSpan(plain_);
      return true;
    case Compressor::Outcome::kTooLong:
      return Fail(absl::ResourceExhaustedError(
          absl::StrCat("a compressed message is over the limit of ", options_.max_message_bytes,
                       " (max_message_bytes) when decompressed")));
    case Compressor::Outcome::kDamaged:
      return Fail(absl::InvalidArgumentError(
          absl::StrCat("a message compressed by ", AlgorithmName(algorithm), " is damaged")));
  }
  return Fail(absl::InternalError("a compressor's outcome that is not known"));
}

bool MessageCodec::DecodePayload(const Head& head, absl::Span<uint8_t> payload, Message& message) {
  if (head.crypto != 0 && !payload.empty()) {
    const absl::StatusOr<absl::Span<uint8_t>> plain = cipher_->Decrypt(payload);
    if (!plain.ok()) return Fail(plain.status());
    payload = *plain;
  }
  const auto algorithm = static_cast<CompressionAlgorithm>(head.compression);
  if (algorithm != CompressionAlgorithm::kNone && !Decompress(algorithm, payload)) return false;
  if (!CheckPlainSize(head, payload.size())) return false;
  fields_.clear();
  if (head.header_size != 0) {
    const char* const wrong =
        ParseHeader(payload.first(head.header_size), options_.max_header_fields, fields_);
    if (wrong != nullptr)
      return Fail(absl::InvalidArgumentError(absl::StrCat("a message's header ", wrong)));
  }
  message = Message{.type = static_cast<MessageType>(head.type),
                    .header = fields_,
                    .body = payload.subspan(head.header_size),
                    .compression = algorithm};
  return true;
}

DecodeResult MessageCodec::Decode(absl::Span<uint8_t> in, Message& message) {
  if (!status_.ok()) return DecodeResult::Error();
  ReleaseMemory();
  if (in.size() < kHeadBytes) return DecodeResult::NeedMore(kHeadBytes);
  const Head head = ReadHead(in.data());
  if (!CheckSize(head.size) || !CheckHead(head)) return DecodeResult::Error();
  const size_t payload_size = head.size - kCountedHeadBytes;
  const size_t size = kHeadBytes + payload_size;
  if (in.size() < size) return DecodeResult::NeedMore(size);
  return DecodePayload(head, in.subspan(kHeadBytes, payload_size), message)
             ? DecodeResult::Message(size)
             : DecodeResult::Error();
}

void MessageCodec::ReleaseMemory() {
  if (plain_.capacity() > kKeptBytes) std::vector<uint8_t>().swap(plain_);
  if (fields_.capacity() * sizeof(HeaderField) > kKeptBytes)
    std::vector<HeaderField>().swap(fields_);
}

// Encoding.

EncodeResult MessageCodec::CheckEncodable(const Message& message) const {
  if (message.header.size() > options_.max_header_fields) return EncodeResult::kTooLong;
  if (message.type > MessageType::kHandshake) return EncodeResult::kInvalid;
  if (message.type == MessageType::kHandshake && cipher_ == nullptr) return EncodeResult::kInvalid;
  const bool too_soon = !IsControl(message.type) && cipher_ != nullptr && !cipher_->ready();
  return too_soon ? EncodeResult::kInvalid : EncodeResult::kEncoded;
}

bool MessageCodec::MayCompress(const Message& message, size_t payload) const {
  return options_.compression != CompressionAlgorithm::kNone && !IsControl(message.type) &&
         payload >= options_.min_compress_bytes;
}

// What the frame says about it.
uint8_t MessageCodec::EncryptInto(const Message& message, Encoded& encoded) const {
  const size_t payload = encoded.front.size() + encoded.rest.size();
  if (cipher_ == nullptr || IsControl(message.type) || payload == 0) return 0;
  encoded.front.append(reinterpret_cast<const char*>(encoded.rest.data()), encoded.rest.size());
  encoded.rest = {};
  cipher_->Encrypt(encoded.front);
  return kRsaThenAes;
}

EncodeResult MessageCodec::Prepare(const Message& message, Encoded& encoded) const {
  const EncodeResult check = CheckEncodable(message);
  if (check != EncodeResult::kEncoded) return check;
  encoded.rest = message.body;
  if (!message.header.empty() && !AppendHeader(message.header, encoded.front))
    return EncodeResult::kInvalid;
  const size_t header_size = encoded.front.size();
  if (header_size > kMaxHeaderBytes || message.body.size() > options_.max_message_bytes ||
      header_size > options_.max_message_bytes - message.body.size()) {
    return EncodeResult::kTooLong;
  }

  CompressionAlgorithm compression = CompressionAlgorithm::kNone;
  std::string compressed;
  if (MayCompress(message, header_size + message.body.size()) &&
      options_.compressor->Compress(options_.compression, AsBytes(encoded.front), message.body,
                                    compressed) &&
      compressed.size() >= header_size) {
    compression = options_.compression;
    encoded.front = std::move(compressed);
    encoded.rest = {};
  }
  const uint8_t crypto = EncryptInto(message, encoded);

  const size_t size = kCountedHeadBytes + encoded.front.size() + encoded.rest.size();
  for (int i = 0; i < 4; ++i) encoded.head[i] = static_cast<uint8_t>(size >> 8 * i);
  encoded.head[4] = kVersion;
  encoded.head[5] = static_cast<uint8_t>(message.type);
  encoded.head[6] = static_cast<uint8_t>(compression);
  encoded.head[7] = crypto;
  encoded.head[8] = static_cast<uint8_t>(header_size);
  encoded.head[9] = static_cast<uint8_t>(header_size >> 8);
  return EncodeResult::kEncoded;
}

}  // namespace sluice::usp
