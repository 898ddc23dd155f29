#include "sluice/protocols/usp/header.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace sluice::usp {
namespace {

bool IsContinuation(uint8_t byte) { return (byte & 0xC0) == 0x80; }

// The bytes of the character at the front, 1 to 4; 0 where there is none (RFC 3629 section 4).
size_t CharacterBytes(absl::Span<const uint8_t> bytes) {
  const uint8_t first = bytes[0];
  if (first < 0x80) return 1;
  size_t size = 0;
  uint8_t low = 0x80, high = 0xBF;  // of the second byte
  if (first >= 0xC2 && first <= 0xDF) {
    size = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    size = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    size = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  }
  if (size == 0 || bytes.size() < size || bytes[1] < low || bytes[1] > high) return 0;
  for (size_t i = 2; i < size; ++i) {
    if (!IsContinuation(bytes[i])) return 0;
  }
  return size;
}

bool IsUtf8(absl::string_view text) {
  absl::Span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  while (!bytes.empty()) {
    const size_t size = CharacterBytes(bytes);
    if (size == 0) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

int HexDigit(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// What a character after a backslash stands for; 0 for none.
uint8_t Unescaped(uint8_t c) {
  switch (c) {
    case '"':
    case '\\':
    case '/':
      return c;
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return 0;
  }
}

uint8_t* WriteCharacter(uint32_t c, uint8_t* out) {
  const auto continuation = [c](int shift) {
    return static_cast<uint8_t>(0x80 | ((c >> shift) & 0x3F));
  };
  if (c < 0x80) {
    *out++ = static_cast<uint8_t>(c);
    return out;
  }
  if (c < 0x800) {
    *out++ = static_cast<uint8_t>(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      *out++ = static_cast<uint8_t>(0xE0 | c >> 12);
    } else {
      *out++ = static_cast<uint8_t>(0xF0 | c >> 18);
      *out++ = continuation(12);
    }
    *out++ = continuation(6);
  }
  *out++ = continuation(0);
  return out;
}

class Parser {
 public:
  explicit Parser(absl::Span<uint8_t> json) : at_(json.data()), end_(json.data() + json.size()) {}

  const char* Parse(size_t max_fields, std::vector<HeaderField>& fields) {
    fields.clear();
    if (!Take('{')) return "is no JSON object";
    if (!Take('}')) {
      do {
        if (fields.size() == max_fields) return "has too many fields";
        HeaderField field;
        if (!ParseString(field.name)) return error_;
        if (!Take(':')) return "has a name without a colon";
        if (!ParseString(field.value)) return error_;
        if (FindField(fields, field.name).has_value()) return "has a name twice";
        fields.push_back(field);
      } while (Take(','));
      if (!Take('}')) return "has no end, or something but a comma between two fields";
    }
    SkipBlanks();
    return at_ == end_ ? nullptr : "has something behind its JSON object";
  }

 private:
  void SkipBlanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
  }
  // Takes this character, which may have blanks before it.
  bool Take(uint8_t c) {
    SkipBlanks();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool Fail(const char* error) {
    error_ = error;
    return false;
  }

  // Unescapes to where it reads: an escape is longer than what it stands for.
  bool ParseString(absl::string_view& text) {
    if (!Take('"')) return Fail("has a name or a value that is no string");
    uint8_t* const begin = at_;
    uint8_t* out = at_;
    while (at_ != end_ && *at_ != '"') {
      if (*at_ == '\\') {
        if (!ParseEscape(out)) return false;
        continue;
      }
      if (*at_ < 0x20) return Fail("has a control character in a string");
      size_t size = CharacterBytes(absl::MakeConstSpan(at_, static_cast<size_t>(end_ - at_)));
      if (size == 0) return Fail("is not UTF-8");
      for (; size > 0; --size) *out++ = *at_++;
    }
    if (at_ == end_) return Fail("has a string without an end");
    ++at_;
    text =
        absl::string_view(reinterpret_cast<const char*>(begin), static_cast<size_t>(out - begin));
    return true;
  }

  bool ParseEscape(uint8_t*& out) {
    ++at_;
    if (at_ == end_) return Fail("has a string without an end");
    const uint8_t kind = *at_++;
    if (kind != 'u') {
      *out = Unescaped(kind);
      return *out++ != 0 || Fail("has an escape that JSON does not know");
    }
    uint32_t c = 0;
    if (!ParseHex(c)) return false;
    if (c >= 0xD800 && c < 0xE000) {
      uint32_t low = 0;
      const bool pair = c < 0xDC00 && end_ - at_ >= 2 && at_[0] == '\\' && at_[1] == 'u';
      if (!pair) return Fail("has half of a surrogate pair");
      at_ += 2;
      if (!ParseHex(low)) return false;
      if (low < 0xDC00 || low >= 0xE000) return Fail("has half of a surrogate pair");
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    out = WriteCharacter(c, out);
    return true;
  }

  bool ParseHex(uint32_t& c) {
    c = 0;
    for (int i = 0; i < 4; ++i) {
      const int digit = at_ == end_ ? -1 : HexDigit(*at_++);
      if (digit < 0) return Fail("has a \\u without four hexadecimal digits");
      c = c << 4 | static_cast<uint32_t>(digit);
    }
    return true;
  }

  uint8_t* at_;
  uint8_t* const end_;
  const char* error_ = nullptr;
};

// The letter of an escape of two bytes; 0 for none. What a header that was received has in them is
// sent in them, and so takes no more than it did.
char ShortEscape(char c) {
  switch (c) {
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

bool AppendString(absl::string_view text, std::string& out) {
  if (!IsUtf8(text)) return false;
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (const char letter = ShortEscape(c); letter != 0) {
      out += '\\';
      out += letter;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
  return true;
}

}  // namespace

absl::optional<absl::string_view> FindField(absl::Span<const HeaderField> header,
                                            absl::string_view name) {
  for (const HeaderField& field : header) {
    if (field.name == name) return field.value;
  }
  return absl::nullopt;
}

const char* ParseHeader(absl::Span<uint8_t> json, size_t max_fields,
                        std::vector<HeaderField>& fields) {
  return Parser(json).Parse(max_fields, fields);
}

bool AppendHeader(absl::Span<const HeaderField> header, std::string& out) {
  out += '{';
  for (size_t i = 0; i < header.size(); ++i) {
    if (i != 0) out += ',';
    if (FindField(header.first(i), header[i].name).has_value()) return false;
    if (!AppendString(header[i].name, out)) return false;
    out += ':';
    if (!AppendString(header[i].value, out)) return false;
  }
  out += '}';
  return true;
}

}  // namespace sluice::usp
