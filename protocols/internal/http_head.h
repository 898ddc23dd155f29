// What opening handshakes need of HTTP/1.1 (RFC 9112): finding the end of a head that arrives
// in pieces, and taking it apart, strictly. No bodies, no obs-fold, no bare CR or LF.
//
// Example:
//   HeadReader reader(8192);
//   switch (reader.Read(bytes)) { case HeadReader::kWhole: ... }
//   HttpHead head;
//   if (head.Parse(reader.head(), 100) != HttpHead::kParsed) return Refuse(400);
//   absl::string_view host = head.Find("Host").value_or("");

#ifndef SLUICE_PROTOCOLS_INTERNAL_HTTP_HEAD_H_
#define SLUICE_PROTOCOLS_INTERNAL_HTTP_HEAD_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace sluice::http {

// RFC 9110 section 5.6.2.
bool IsToken(absl::string_view text);
// What may stand in a field value: no control characters but tab.
bool IsFieldText(absl::string_view text);
// The elements of a comma-separated list, without white space around them; empty ones left out.
std::vector<absl::string_view> ListElements(absl::string_view list);
bool ListHas(absl::string_view list, absl::string_view element_in_any_case);

// Collects a head up to the empty line that ends it. Keeps no copy if it comes in one piece.
class HeadReader {
 public:
  enum Result : uint8_t {
    kNeedMore,
    kWhole,
    kMalformed,  // a bare CR or LF, or another control character
    kTooLong,
  };

  explicit HeadReader(size_t max_bytes) : max_bytes_(max_bytes) {}

  // Advances `bytes` past what belongs to the head: all, or up to the end of the head.
  Result Read(absl::Span<const uint8_t>& bytes);

  // After kWhole: the head with its last empty line. It lies in the bytes last read, or in the
  // reader.
  absl::string_view head() const { return head_; }
  size_t max_bytes() const { return max_bytes_; }
  // After kNeedMore, and at first: at least so many bytes are still to come, so who receives no
  // more than these receives nothing of what follows the head. From 1 to 4.
  size_t missing_bytes() const;
  // After kTooLong: not even the first line had ended.
  bool within_first_line() const { return within_first_line_; }

 private:
  size_t max_bytes_;
  std::string kept_;
  absl::string_view head_;
  bool after_cr_ = false;
  bool line_is_empty_ = true;
  bool within_first_line_ = true;
};

// The first line of an answer, "HTTP/1.1 404 Not Found": the reason may be empty.
struct StatusLine {
  int minor_version = 0;  // of HTTP/1: 0 or 1
  int status = 0;         // 100 to 599
  absl::string_view reason;
};
absl::optional<StatusLine> ParseStatusLine(absl::string_view line);

struct HttpField {
  absl::string_view name, value;  // the value without white space around it
};

// A head taken apart; all views are into it.
class HttpHead {
 public:
  enum Result : uint8_t { kParsed, kMalformed, kTooManyFields };

  // `head` is as HeadReader gives it.
  Result Parse(absl::string_view head, size_t max_fields);

  absl::string_view start_line() const { return start_line_; }
  absl::Span<const HttpField> fields() const { return fields_; }
  // The first field of that name, in any case.
  absl::optional<absl::string_view> Find(absl::string_view name) const;
  size_t Count(absl::string_view name) const;
  // Whether one of possibly several fields of that name lists the element.
  bool AnyListHas(absl::string_view name, absl::string_view element_in_any_case) const;

 private:
  absl::string_view start_line_;
  std::vector<HttpField> fields_;
};

}  // namespace sluice::http

#endif  // SLUICE_PROTOCOLS_INTERNAL_HTTP_HEAD_H_
