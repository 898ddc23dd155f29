// How the messages of a codec look on the command line: what becomes of a line that is typed into
// `sluice cat`, or of what `bench` sends, and how a received message is shown. Messages of bytes
// need none of it (PlainText); a codec with typed messages names a class like this beside it:
//
// Example: a codec whose messages are a struct Entry {uint8_t id; absl::string_view text;}.
//
//   struct EntryText {
//     // A message to be sent: anything that the codec's Encode takes, or an absl::StatusOr of it.
//     // What refers to `bytes` is used at once.
//     Entry Parse(Client::Kind /*kind*/, absl::Span<const uint8_t> bytes) const {
//       return {1, AsText(bytes)};
//     }
//     // What `cat` prints, and `bench` compares with what was parsed: bytes or text, its own or
//     the
//     // message's.
//     absl::string_view Show(const Entry& entry) const { return entry.text; }
//   };
//   protocols.Add(CodecProtocol<EntryCodec, EntryText>({.name = "entry"}));
//
// A protocol of questions and answers says what the server sends back, instead of the message:
// anything that Encode takes.
//
//     Entry Answer(const Entry& question) const;
//
// Where messages are also what two peers say between themselves (pings, handshakes), it has one of
// these or both. They are asked first; true says that the message was dealt with, and it is then
// neither echoed nor shown nor counted. They may send.
//
//     bool AtServer(CodecStream<EntryCodec>& stream, const Entry& entry) const;
//     bool AtClient(CodecStream<EntryCodec>& stream, const Entry& entry) const;
//
// A server that does not end a connection whose client has ended is left when it has been silent
// for so long:
//
//     absl::Duration PeerSilence() const { return absl::Seconds(2); }
//
// It is made of the codec's options, where it has a constructor that takes them, and of nothing
// otherwise. All connections of a loop may share one: what belongs to a connection is kept by its
// codec (stream.codec()). `bench` wants back what it has sent, so for it Show is to be the inverse
// of Parse.
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_CODEC_TEXT_H_
#define SLUICE_TOOLS_CODEC_TEXT_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

inline absl::string_view AsText(absl::Span<const uint8_t> bytes) {
  return absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
inline absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}
inline absl::Span<const uint8_t> AsBytes(absl::Span<const uint8_t> bytes) { return bytes; }

// For a codec with messages of bytes: they are what is typed and shown.
struct PlainText {
  absl::Span<const uint8_t> Parse(Client::Kind /*kind*/, absl::Span<const uint8_t> bytes) const {
    return bytes;
  }
  absl::Span<const uint8_t> Show(absl::Span<const uint8_t> message) const { return message; }
};

template <typename T, typename C>
concept CodecText = Codec<C> &&
    requires(const T text, absl::Span<const uint8_t> bytes, typename C::Message& message) {
  text.Parse(Client::Kind::kText, bytes);
  AsBytes(text.Show(message));
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_CODEC_TEXT_H_
