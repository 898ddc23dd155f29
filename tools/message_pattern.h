// MessagePattern gives each message of a load its own content, of which nothing is stored but one
// block of noise, or of text: a message is a window into it, placed by connection and sequence
// number. An answer is checked with memcmp. Two messages of one connection differ in where their
// window lies if fewer than kWindows lie between them, so that a lost, doubled or swapped answer
// shows.
//
// Their sizes are a MessageSizes'.
//
// Example:
//   MessagePattern pattern(1024, /*seed=*/1);
//   client.Send(pattern.Message(connection, sequence));
//
// Thread-safe.
#ifndef SLUICE_TOOLS_MESSAGE_PATTERN_H_
#define SLUICE_TOOLS_MESSAGE_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "sluice/tools/message_sizes.h"

namespace sluice::tools {

class MessagePattern {
 public:
  static constexpr size_t kWindows = 16384;

  // Text is records as in JSON, in ASCII without line breaks, of which a message may have a part at
  // either end. What compresses, compresses it to less than half, from a few hundred bytes on.
  enum Content : uint8_t { kNoise, kText };

  MessagePattern(MessageSizes sizes, uint64_t seed, Content content = kNoise);

  const MessageSizes& sizes() const { return sizes_; }

  size_t SizeOf(uint64_t connection, uint64_t sequence) const {
    return sizes_.Of(seed_, connection, sequence);
  }

  absl::Span<const uint8_t> Message(uint64_t connection, uint64_t sequence) const {
    // Any odd step visits all windows; this one keeps neighbours in sequence in neighbouring cache
    // lines.
    const size_t window = static_cast<size_t>(connection * 7919 + sequence * 67) % kWindows;
    return absl::MakeConstSpan(block_).subspan(window, SizeOf(connection, sequence));
  }

 private:
  const MessageSizes sizes_;
  const uint64_t seed_;
  const std::vector<uint8_t> block_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_MESSAGE_PATTERN_H_
