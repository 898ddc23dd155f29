// Text from a peer, made safe to show: what could drive a terminal, or is no text at all, is
// written as \xNN.
//
//   PrintableLine("a\tb\nc\x1b[2J")           // "a\tb\\nc\\x1b[2J": one line, whatever it holds
//
// Thread-safe, but for PrintableFlow, which is thread-compatible.
#ifndef SLUICE_TOOLS_PRINTABLE_H_
#define SLUICE_TOOLS_PRINTABLE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice::tools {

// The length of the UTF-8 character (RFC 3629) at the front of `text`; 0 when what is there is
// none, or is cut off.
size_t Utf8CharacterLength(absl::string_view text);

bool IsUtf8(absl::string_view text);

// Tabs stay; line breaks become \n and \r, other control characters and what is not UTF-8 \xNN.
std::string PrintableLine(absl::string_view text);

// The same for bytes that come in pieces: line breaks stay, and a character that is cut between two
// pieces is one.
class PrintableFlow {
 public:
  std::string Add(absl::string_view piece);
  // What was held back of a cut character that will not be completed.
  std::string End();

 private:
  std::string held_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_PRINTABLE_H_
