#include "sluice/tools/json.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sluice::tools {
namespace {

// The length of the UTF-8 character at the front of `text`, or 0 when there is none.
size_t CharacterLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xC2 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF5 ? 4
                                      : 0;
  if (length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Not the over-long forms, surrogates and numbers past U+10FFFF.
  if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F)) return 0;
  if ((lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F)) return 0;
  return length;
}

std::string Quote(absl::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) {
    const unsigned char c = static_cast<unsigned char>(text[0]);
    const size_t length = CharacterLength(text);
    if (c == '"' || c == '\\') {
      absl::StrAppend(&quoted, "\\", text.substr(0, 1));
    } else if (length == 0 || c < 0x20 || c == 0x7F) {
      absl::StrAppendFormat(&quoted, "\\u%04x", c);
    } else {
      absl::StrAppend(&quoted, text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return quoted + "\"";
}

}  // namespace

JsonObject& JsonObject::AddRaw(absl::string_view name, absl::string_view json) {
  absl::StrAppend(&members_, members_.empty() ? "" : ",", Quote(name), ":", json);
  return *this;
}

JsonObject& JsonObject::Add(absl::string_view name, absl::string_view value) {
  return AddRaw(name, Quote(value));
}

JsonObject& JsonObject::Add(absl::string_view name, int64_t value) {
  return AddRaw(name, absl::StrCat(value));
}

JsonObject& JsonObject::Add(absl::string_view name, uint64_t value) {
  return AddRaw(name, absl::StrCat(value));
}

JsonObject& JsonObject::Add(absl::string_view name, double value) {
  return AddRaw(name, std::isfinite(value) ? absl::StrFormat("%.9g", value) : "null");
}

JsonObject& JsonObject::Add(absl::string_view name, bool value) {
  return AddRaw(name, value ? "true" : "false");
}

JsonObject& JsonObject::Add(absl::string_view name, const JsonObject& value) {
  return AddRaw(name, value.ToString());
}

std::string JsonObject::ToString() const { return absl::StrCat("{", members_, "}"); }

}  // namespace sluice::tools
