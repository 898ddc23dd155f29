// Wrap breaks a text into lines at its spaces.
//
//   Wrap("one two three", 8, 2)       // "one two\n  three"
//
// Thread-safe.
#ifndef SLUICE_TOOLS_WRAP_H_
#define SLUICE_TOOLS_WRAP_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice::tools {

// What help is wrapped to.
inline constexpr size_t kHelpColumns = 100;

// Lines of at most `columns` where words allow it, each after the first behind `indent` spaces,
// which do not count.
std::string Wrap(absl::string_view text, size_t columns, size_t indent);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_WRAP_H_
