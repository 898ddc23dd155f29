#include "sluice/tools/printable.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sluice::tools {
namespace {

constexpr absl::string_view kKeptInLines = "\t";
constexpr absl::string_view kKeptInFlows = "\t\n\r";

unsigned char Byte(absl::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

// How long a character is by its first byte; 0 for a byte that begins none.
size_t LengthByLead(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return lead < 0xF5 ? 4 : 0;
}

// Whether the character is a control character: ASCII's, or those of ISO 6429 at U+0080 to U+009F.
bool IsControl(absl::string_view character) {
  const unsigned char lead = Byte(character, 0);
  return lead < 0x20 || lead == 0x7F || (lead == 0xC2 && Byte(character, 1) < 0xA0);
}

void AppendEscaped(absl::string_view bytes, std::string& out) {
  for (char c : bytes) {
    if (c == '\n' || c == '\r') {
      absl::StrAppend(&out, c == '\n' ? "\\n" : "\\r");
    } else {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(c));
    }
  }
}

std::string Printable(absl::string_view text, absl::string_view kept) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    const absl::string_view character = text.substr(0, std::max<size_t>(length, 1));
    const bool is_kept = kept.find(character[0]) != absl::string_view::npos;
    if (length == 0 || (IsControl(character) && !is_kept)) {
      AppendEscaped(character, out);
    } else {
      absl::StrAppend(&out, character);
    }
    text.remove_prefix(character.size());
  }
  return out;
}

// How many bytes at the end of `text` are the beginning of a character whose rest may follow.
size_t CutOff(absl::string_view text) {
  for (size_t length = 1; length <= std::min<size_t>(3, text.size()); ++length) {
    const unsigned char byte = Byte(text, text.size() - length);
    if ((byte & 0xC0) == 0x80) continue;
    return LengthByLead(byte) > length ? length : 0;
  }
  return 0;
}

}  // namespace

size_t Utf8CharacterLength(absl::string_view text) {
  if (text.empty()) return 0;
  const unsigned char lead = Byte(text, 0);
  const size_t length = LengthByLead(lead);
  if (length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((Byte(text, i) & 0xC0) != 0x80) return 0;
  }
  // Not the over-long forms, surrogates and numbers past U+10FFFF.
  if ((lead == 0xE0 && Byte(text, 1) < 0xA0) || (lead == 0xED && Byte(text, 1) > 0x9F)) return 0;
  if ((lead == 0xF0 && Byte(text, 1) < 0x90) || (lead == 0xF4 && Byte(text, 1) > 0x8F)) return 0;
  return length;
}

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string PrintableLine(absl::string_view text) { return Printable(text, kKeptInLines); }

std::string PrintableFlow::Add(absl::string_view piece) {
  absl::StrAppend(&held_, piece);
  const size_t ready = held_.size() - CutOff(held_);
  std::string out = Printable(absl::string_view(held_).substr(0, ready), kKeptInFlows);
  held_.erase(0, ready);
  return out;
}

std::string PrintableFlow::End() { return Printable(std::exchange(held_, {}), kKeptInFlows); }

}  // namespace sluice::tools
