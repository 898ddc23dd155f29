// What a stream of output can show: whether it is a terminal, how wide, and with which characters.
//
// Example:
//   const Terminal terminal = DetectTerminal(stdout);
//   std::fputs(PercentilePicture(histogram, terminal).c_str(), stdout);
//
// A value; tests make their own.
#ifndef SLUICE_TOOLS_TERMINAL_H_
#define SLUICE_TOOLS_TERMINAL_H_

#include <cstddef>
#include <cstdio>

#include "absl/strings/string_view.h"

namespace sluice::tools {

struct Terminal {
  bool interactive = false;  // a terminal, where lines can be overwritten
  bool unicode = false;      // the locale's characters are UTF-8
  bool color = false;
  int columns = 80;

  // The escape sequence of a colour, or nothing.
  absl::string_view accent() const { return color ? "\x1b[36m" : ""; }
  absl::string_view warning() const { return color ? "\x1b[33m" : ""; }
  absl::string_view plain() const { return color ? "\x1b[0m" : ""; }
};

// Reads the environment: the locale (LC_ALL, LC_CTYPE, LANG), TERM, NO_COLOR
// (https://no-color.org), and the terminal's size.
Terminal DetectTerminal(std::FILE* file);

// How many columns `text` takes: its UTF-8 characters, each of which must be of the usual width and
// no escape sequence.
size_t DisplayWidth(absl::string_view text);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_TERMINAL_H_
