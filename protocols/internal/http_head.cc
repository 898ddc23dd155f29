#include "sluice/protocols/internal/http_head.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace sluice::http {
namespace {

bool IsTokenChar(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         absl::string_view("!#$%&'*+-.^_`|~").find(c) != absl::string_view::npos;
}

bool IsControlChar(uint8_t c) { return (c < 0x20 && c != '\t') || c == 0x7f; }

// Spaces and tabs are the only white space of a field (RFC 9110 section 5.6.3).
absl::string_view StripBlanks(absl::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

bool IsToken(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

bool IsFieldText(absl::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return IsControlChar(static_cast<uint8_t>(c)); });
}

std::vector<absl::string_view> ListElements(absl::string_view list) {
  std::vector<absl::string_view> elements;
  for (absl::string_view element : absl::StrSplit(list, ',')) {
    element = StripBlanks(element);
    if (!element.empty()) elements.push_back(element);
  }
  return elements;
}

bool ListHas(absl::string_view list, absl::string_view element_in_any_case) {
  for (absl::string_view element : absl::StrSplit(list, ',')) {
    if (absl::EqualsIgnoreCase(StripBlanks(element), element_in_any_case)) return true;
  }
  return false;
}

HeadReader::Result HeadReader::Read(absl::Span<const uint8_t>& bytes) {
  const size_t room = max_bytes_ - kept_.size();
  const size_t look = std::min(bytes.size(), room);
  size_t i = 0;
  bool whole = false;
  while (i < look && !whole) {
    const uint8_t c = bytes[i++];
    if (after_cr_) {
      if (c != '\n') return kMalformed;
      after_cr_ = false;
      whole = line_is_empty_;
      line_is_empty_ = true;
      within_first_line_ = false;
    } else if (c == '\r') {
      after_cr_ = true;
    } else if (IsControlChar(c)) {
      return kMalformed;
    } else {
      line_is_empty_ = false;
    }
  }
  const absl::string_view read(reinterpret_cast<const char*>(bytes.data()), i);
  const bool too_long = !whole && bytes.size() > room;
  bytes.remove_prefix(i);
  if (too_long) return kTooLong;
  if (whole && kept_.empty()) {
    head_ = read;
    return kWhole;
  }
  kept_.append(read.data(), read.size());
  if (!whole) return kept_.size() == max_bytes_ ? kTooLong : kNeedMore;
  head_ = kept_;
  return kWhole;
}

size_t HeadReader::missing_bytes() const { return (line_is_empty_ ? 2 : 4) - (after_cr_ ? 1 : 0); }

absl::optional<StatusLine> ParseStatusLine(absl::string_view line) {
  StatusLine parsed;
  if (absl::ConsumePrefix(&line, "HTTP/1.1 ")) {
    parsed.minor_version = 1;
  } else if (!absl::ConsumePrefix(&line, "HTTP/1.0 ")) {
    return absl::nullopt;
  }
  constexpr size_t kDigits = 3;
  if (line.size() < kDigits || (line.size() > kDigits && line[kDigits] != ' '))
    return absl::nullopt;
  for (const char c : line.substr(0, kDigits)) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return absl::nullopt;
    parsed.status = parsed.status * 10 + (c - '0');
  }
  if (parsed.status < 100 || parsed.status > 599) return absl::nullopt;
  parsed.reason = absl::StripPrefix(line.substr(kDigits), " ");
  return parsed;
}

HttpHead::Result HttpHead::Parse(absl::string_view head, size_t max_fields) {
  fields_.clear();
  absl::ConsumeSuffix(&head, "\r\n\r\n");
  bool first = true;
  for (absl::string_view line : absl::StrSplit(head, "\r\n")) {
    if (first) {
      start_line_ = line;
      first = false;
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos || !IsToken(line.substr(0, colon))) return kMalformed;
    if (fields_.size() == max_fields) return kTooManyFields;
    if (fields_.empty()) fields_.reserve(16);
    fields_.push_back({line.substr(0, colon), StripBlanks(line.substr(colon + 1))});
  }
  return kParsed;
}

absl::optional<absl::string_view> HttpHead::Find(absl::string_view name) const {
  for (const HttpField& field : fields_) {
    if (absl::EqualsIgnoreCase(field.name, name)) return field.value;
  }
  return absl::nullopt;
}

size_t HttpHead::Count(absl::string_view name) const {
  return static_cast<size_t>(std::count_if(
      fields_.begin(), fields_.end(),
      [name](const HttpField& field) { return absl::EqualsIgnoreCase(field.name, name); }));
}

bool HttpHead::AnyListHas(absl::string_view name, absl::string_view element_in_any_case) const {
  return std::any_of(fields_.begin(), fields_.end(), [&](const HttpField& field) {
    return absl::EqualsIgnoreCase(field.name, name) && ListHas(field.value, element_in_any_case);
  });
}

}  // namespace sluice::http
