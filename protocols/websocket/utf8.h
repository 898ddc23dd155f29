// Utf8Validator checks text that arrives in pieces, strictly as RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF, no sequence cut short. It says no with the first byte after
// which the text can no longer become valid (RFC 6455 section 8.1 lets an endpoint fail a
// connection right there). It decodes and changes nothing.
//
// Example:
//   Utf8Validator validator;
//   for (absl::Span<const uint8_t> piece : pieces) {
//     if (!validator.Update(piece)) return Fail();
//   }
//   if (!validator.complete()) return Fail();                // ends within a character
//
// Thread-compatible; 3 bytes, to be copied and assigned freely. ASCII and other text are checked
// with vectors, chosen at run time, so a piece may well hold mebibytes.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_UTF8_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_UTF8_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice::websocket {

class Utf8Validator {
 public:
  // False once the text so far is no beginning of any valid text; then for ever.
  bool Update(const uint8_t* data, size_t size);
  bool Update(absl::Span<const uint8_t> piece) { return Update(piece.data(), piece.size()); }

  // Whether the text so far is valid as it stands: nothing wrong, and no character begun and not
  // ended.
  bool complete() const { return missing_ == 0; }

 private:
  static constexpr uint8_t kFailed = 0xff;

  // Takes one byte; false when it cannot follow.
  bool Step(uint8_t byte);
  bool Steps(const uint8_t* data, size_t size);

  uint8_t missing_ = 0;  // continuation bytes that the open character still lacks, or kFailed
  uint8_t low_ = 0x80;   // the range that the next of them may come from
  uint8_t high_ = 0xbf;
};

// Whether a whole text is valid.
bool IsValidUtf8(absl::Span<const uint8_t> text);
bool IsValidUtf8(absl::string_view text);

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_UTF8_H_
