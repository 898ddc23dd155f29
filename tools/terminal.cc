#include "sluice/tools/terminal.h"

#include <langinfo.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace sluice::tools {
namespace {

bool LocaleIsUtf8() {
  // Not setlocale: nothing else in the process should change its ways of writing numbers, or sort
  // differently.
  const locale_t locale = newlocale(LC_CTYPE_MASK, "", nullptr);
  if (locale == nullptr) return false;
  const bool utf8 = absl::string_view(nl_langinfo_l(CODESET, locale)) == "UTF-8";
  freelocale(locale);
  return utf8;
}

bool HasValue(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

}  // namespace

Terminal DetectTerminal(std::FILE* file) {
  Terminal terminal;
  const int descriptor = fileno(file);
  const char* type = std::getenv("TERM");
  const bool is_terminal = isatty(descriptor) != 0;
  terminal.interactive = is_terminal && type != nullptr && absl::string_view(type) != "dumb";
  terminal.unicode = LocaleIsUtf8();
  terminal.color = terminal.interactive && !HasValue("NO_COLOR");
  winsize size = {};
  if (is_terminal && ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.columns = std::clamp<int>(size.ws_col, 40, 200);
  }
  return terminal;
}

size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace sluice::tools
