#include "sluice/protocols/resp/encode.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace sluice::resp::internal {

// Short where that is the same number, as people write it.
std::string DoubleText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = absl::StrFormat("%.15g", value);
  double read_again = 0;
  if (!absl::SimpleAtod(text, &read_again) || read_again != value) {
    text = absl::StrFormat("%.17g", value);
  }
  return text;
}

bool IsLine(absl::string_view text) {
  return text.empty() || (std::memchr(text.data(), '\r', text.size()) == nullptr &&
                          std::memchr(text.data(), '\n', text.size()) == nullptr);
}

bool IsBigNumber(absl::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](char digit) { return digit >= '0' && digit <= '9'; });
}

std::string AsOneLine(absl::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return line;
}

}  // namespace sluice::resp::internal
