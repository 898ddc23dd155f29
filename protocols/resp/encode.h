// What puts commands and replies of the Redis protocol into bytes. The codecs' Encode is made of
// it: Send of a ServerStream or ClientStream takes any of these three, and so does Encode into a
// Buffer.
//
// Example:
//   stream.Send(resp::Arguments{"SET", "key", value});            // a command
//   stream.Send([&](auto& reply) { reply.BulkString(value); });    // a reply
//   stream.Send([&](auto& reply) {                                 // one of several values
//     reply.Array(2);
//     reply.Integer(42);
//     reply.Null();
//   });
//   stream.Send(value);                                            // a Value, as it was received
//
// The protocol's version decides how a reply is written. A peer that has not asked for RESP3 (HELLO
// 3) gets what Redis gives it then: null as a bulk string of length -1, a map as an array of keys
// and values, a set or a push as an array, a boolean as 1 or 0, a double, a big number or a
// verbatim string as a bulk string, a bulk error as an error, and no attributes.
//
// A reply is one value: an aggregate is followed by as many as it has announced (a map and
// attributes by twice as many), and attributes by the value that they tell about. One that is not
// whole, or has more, is refused (EncodeResult::kInvalid) and sends nothing. So is a simple string
// or a big number that the peer would misread, and a push inside another value. Line breaks in an
// error become spaces, as in Redis.
#ifndef SLUICE_PROTOCOLS_RESP_ENCODE_H_
#define SLUICE_PROTOCOLS_RESP_ENCODE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/resp/value.h"

namespace sluice::resp {

class Command;  // command_codec.h

enum class Version : uint8_t { kResp2 = 2, kResp3 = 3 };

// A command: its name and what follows, as the caller holds them. Made of braces, it is to be used
// in the same statement.
class Arguments {
 public:
  Arguments(std::initializer_list<absl::string_view> parts) : parts_(parts.begin(), parts.size()) {}
  Arguments(absl::Span<const absl::string_view> parts) : parts_(parts) {}  // NOLINT: as a span is

  absl::Span<const absl::string_view> parts() const { return parts_; }

 private:
  absl::Span<const absl::string_view> parts_;
};

namespace internal {

// A type byte, a whole number and a line break, put together before they are appended.
class Header {
 public:
  Header(char type, uint64_t count) : Header(type, count, false) {}
  static Header Signed(char type, int64_t value) {
    const bool negative = value < 0;
    const uint64_t size =
        negative ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    return Header(type, size, negative);
  }
  absl::string_view text() const {
    return absl::string_view(begin_, static_cast<size_t>(bytes_ + sizeof(bytes_) - begin_));
  }

 private:
  Header(char type, uint64_t magnitude, bool negative) {
    char* at = bytes_ + sizeof(bytes_);
    *--at = '\n';
    *--at = '\r';
    do {
      *--at = static_cast<char>('0' + magnitude % 10);
      magnitude /= 10;
    } while (magnitude != 0);
    if (negative) *--at = '-';
    *--at = type;
    begin_ = at;
  }

  char bytes_[24];
  char* begin_;
};

std::string DoubleText(double value);
bool IsLine(absl::string_view text);       // without line breaks
bool IsBigNumber(absl::string_view text);  // digits, perhaps behind a sign
std::string AsOneLine(absl::string_view text);

}  // namespace internal

// Writes one reply; the codecs make it. Sink is a Buffer or has its Append functions. Text that
// arguments refer to is copied, but for a Slice.
template <typename Sink>
class ReplyWriter {
 public:
  ReplyWriter(Sink& out, Version version) : out_(out), version_(version) {}
  ReplyWriter(const ReplyWriter&) = delete;
  ReplyWriter& operator=(const ReplyWriter&) = delete;

  Version version() const { return version_; }

  void SimpleString(absl::string_view text) {  // "OK"
    if (!internal::IsLine(text)) return Spoil();
    if (Begin()) Line("+", text);
  }
  void Error(absl::string_view text) {  // "ERR unknown command"
    if (!Begin()) return;
    if (internal::IsLine(text)) return Line("-", text);
    Line("-", internal::AsOneLine(text));
  }
  void Integer(int64_t value) {
    if (Begin()) out_.Append(internal::Header::Signed(':', value).text());
  }
  void BulkString(absl::string_view text) {
    if (Begin()) Bulk('$', text);
  }
  void BulkString(Slice text) {
    if (text.size() <= kCopyBytes)
      return BulkString(
          absl::string_view(reinterpret_cast<const char*>(text.span().data()), text.size()));
    if (!Begin()) return;
    out_.Append(internal::Header('$', text.size()).text());
    out_.Append(std::move(text));
    out_.Append("\r\n");
  }
  void Null() {
    if (Begin()) out_.Append(is_resp3() ? "_\r\n" : "$-1\r\n");
  }
  // Where RESP2 has an array that is not there: the reply of BLPOP that has waited in vain.
  void NullArray() {
    if (Begin()) out_.Append(is_resp3() ? "_\r\n" : "*-1\r\n");
  }
  void Boolean(bool value) {
    if (!Begin()) return;
    out_.Append(is_resp3() ? (value ? "#t\r\n" : "#f\r\n") : (value ? ":1\r\n" : ":0\r\n"));
  }
  void Double(double value) {
    if (Begin()) LineOrBulk(",", internal::DoubleText(value));
  }
  void BigNumber(absl::string_view digits) {
    if (!internal::IsBigNumber(digits)) return Spoil();
    if (Begin()) LineOrBulk("(", digits);
  }
  void BulkError(absl::string_view text) {
    if (!is_resp3()) return Error(text);
    if (Begin()) Bulk('!', text);
  }
  // `format` has three bytes: "txt", "mkd".
  void Verbatim(absl::string_view format, absl::string_view text) {
    if (format.size() != 3) return Spoil();
    if (!is_resp3()) return BulkString(text);
    if (!Begin()) return;
    out_.Append(internal::Header('=', text.size() + 4).text());
    out_.Append(format);
    out_.Append(":");
    out_.Append(text);
    out_.Append("\r\n");
  }

  void Array(size_t elements) { Aggregate('*', elements, elements); }
  void Map(size_t pairs) {
    Aggregate(is_resp3() ? '%' : '*', is_resp3() ? pairs : 2 * pairs, 2 * pairs);
  }
  void Set(size_t elements) { Aggregate(is_resp3() ? '~' : '*', elements, elements); }
  // Only as the whole message; the first element is a string that tells what it is.
  void Push(size_t elements) {
    if (inside_ || in_attributes_ != 0) return Spoil();
    Aggregate(is_resp3() ? '>' : '*', elements, elements);
  }
  void Attributes(size_t pairs) {
    if (open_ == 0 || open_ == kSpoilt) return Spoil();
    // They are a value, and another one is still to come.
    ++open_;
    ++in_attributes_;
    Aggregate('|', pairs, 2 * pairs);
  }

  // A value as it was received.
  void Copy(const Value& value);

  // Whether one whole value was written.
  bool done() const { return open_ == 0; }

 private:
  // So much is sooner copied than shared.
  static constexpr size_t kCopyBytes = 2048;
  static constexpr size_t kSpoilt = std::numeric_limits<size_t>::max();

  bool is_resp3() const { return version_ == Version::kResp3; }
  void Spoil() { open_ = kSpoilt; }

  // Before each value: whether it is to be written.
  bool Begin(size_t children = 0) {
    if (open_ == 0 || open_ == kSpoilt) {
      Spoil();
      return false;
    }
    open_ += children - 1;
    if (in_attributes_ == 0) {
      inside_ = true;
      return true;
    }
    in_attributes_ += children - 1;
    return is_resp3();
  }
  void Aggregate(char type, size_t count, size_t children) {
    if (children > std::numeric_limits<uint32_t>::max()) return Spoil();
    if (Begin(children)) out_.Append(internal::Header(type, count).text());
  }
  void Line(absl::string_view type, absl::string_view text) {
    out_.Append(type);
    out_.Append(text);
    out_.Append("\r\n");
  }
  void Bulk(char type, absl::string_view text) {
    out_.Append(internal::Header(type, text.size()).text());
    out_.Append(text);
    out_.Append("\r\n");
  }
  void LineOrBulk(absl::string_view type, absl::string_view text) {
    if (is_resp3()) return Line(type, text);
    Bulk('$', text);
  }
  void CopyNode(const internal::Node& node, const uint8_t* bytes);

  Sink& out_;
  const Version version_;
  size_t open_ = 1;           // values that are still to come
  size_t in_attributes_ = 0;  // of which so many are attributes, which RESP2 does not have
  bool inside_ = false;       // a value has begun that is no attribute: what comes is in it
};

template <typename Sink>
void ReplyWriter<Sink>::Copy(const Value& value) {
  if (value.nodes() == nullptr) return Null();
  for (const internal::Node* node = value.nodes(); node != value.nodes_end(); ++node) {
    CopyNode(*node, value.bytes());
  }
}

template <typename Sink>
void ReplyWriter<Sink>::CopyNode(const internal::Node& node, const uint8_t* bytes) {
  const auto text = [&] {
    return absl::string_view(reinterpret_cast<const char*>(bytes) + node.text.offset,
                             node.text.size);
  };
  switch (node.kind) {
    case Kind::kNull:
      return Null();
    case Kind::kNullArray:
      return NullArray();
    case Kind::kSimpleString:
      return SimpleString(text());
    case Kind::kError:
      return Error(text());
    case Kind::kInteger:
      return Integer(node.number);
    case Kind::kBulkString:
      return BulkString(text());
    case Kind::kBoolean:
      return Boolean(node.number != 0);
    case Kind::kDouble:
      return Double(node.real);
    case Kind::kBigNumber:
      return BigNumber(text());
    case Kind::kBulkError:
      return BulkError(text());
    case Kind::kVerbatim:
      return Verbatim(text().substr(0, 3), text().substr(4));
    case Kind::kArray:
      return Array(node.children.count);
    case Kind::kMap:
      return Map(node.children.count / 2);
    case Kind::kSet:
      return Set(node.children.count);
    case Kind::kPush:
      return Push(node.children.count);
    case Kind::kAttribute:
      return Attributes(node.children.count / 2);
  }
}

namespace internal {

template <typename Parts, typename Sink>
EncodeResult EncodeCommand(const Parts& parts, Sink& out) {
  if (parts.size() == 0) return EncodeResult::kInvalid;
  out.Append(Header('*', parts.size()).text());
  for (const absl::string_view part : parts) {
    out.Append(Header('$', part.size()).text());
    out.Append(part);
    out.Append("\r\n");
  }
  return EncodeResult::kEncoded;
}

template <typename Sink, typename Write>
EncodeResult EncodeReply(Write&& write, Version version, Sink& out) {
  // A Buffer may hold other messages, and must not get a part of one. What a CodecStream encodes
  // into is thrown away.
  if constexpr (std::same_as<Sink, Buffer>) {
    Buffer whole;
    ReplyWriter<Sink> writer(whole, version);
    write(writer);
    if (!writer.done()) return EncodeResult::kInvalid;
    out.Append(std::move(whole));
  } else {
    ReplyWriter<Sink> writer(out, version);
    write(writer);
    if (!writer.done()) return EncodeResult::kInvalid;
  }
  return EncodeResult::kEncoded;
}

}  // namespace internal

// A function that writes a reply.
template <typename F, typename Sink>
concept WritesReply = std::invocable < F&,
        ReplyWriter<Sink>
& > ;

// What both codecs encode: a base of theirs, and nothing by itself.
class Encoder {
 public:
  // How a ReplyWriter writes from now on.
  void set_version(Version version) { version_ = version; }
  Version version() const { return version_; }

  // kInvalid for a reply that is not one whole value, and for a command without a name.
  template <typename Sink, WritesReply<Sink> Write>
  EncodeResult Encode(Write&& write, Sink& out) const {
    return internal::EncodeReply(std::forward<Write>(write), version_, out);
  }
  template <typename Sink>
  EncodeResult Encode(const Value& value, Sink& out) const {
    return Encode([&](ReplyWriter<Sink>& reply) { reply.Copy(value); }, out);
  }
  template <typename Sink>
  EncodeResult Encode(const Arguments& command, Sink& out) const {
    return internal::EncodeCommand(command.parts(), out);
  }
  template <typename Sink>
  EncodeResult Encode(const Command& command, Sink& out) const {
    return internal::EncodeCommand(command, out);
  }

 protected:
  explicit Encoder(Version version) : version_(version) {}

 private:
  Version version_;
};

}  // namespace sluice::resp

#endif  // SLUICE_PROTOCOLS_RESP_ENCODE_H_
