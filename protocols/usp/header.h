// The header of a message: strings by name, in JSON, as Go's encoding/json reads and writes a
// map[string]string: {"id":"7","room":"a \"b\""}. What is written is in the order that is given,
// and escapes no more than JSON asks for: a header that was received becomes no longer.
//
// Read are objects of strings: nothing nested, no numbers, no null; blanks between them as JSON has
// them. Names are different: a second field of the same name is an error, since a peer might take
// the one or the other. All has to be UTF-8, and \u escapes have to be of characters (a surrogate
// only in a pair).

#ifndef SLUICE_PROTOCOLS_USP_HEADER_H_
#define SLUICE_PROTOCOLS_USP_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace sluice::usp {

struct HeaderField {
  absl::string_view name;
  absl::string_view value;

  friend bool operator==(const HeaderField& a, const HeaderField& b) {
    return a.name == b.name && a.value == b.value;
  }
};

// The value of that name.
absl::optional<absl::string_view> FindField(absl::Span<const HeaderField> header,
                                            absl::string_view name);

// Sets the fields to those of a header. They refer to `json`, in which they are unescaped in place.
// Null, or what is wrong, as the end of a sentence.
const char* ParseHeader(absl::Span<uint8_t> json, size_t max_fields,
                        std::vector<HeaderField>& fields);

// Appends the header as JSON. False for what is no UTF-8, and for a name that is there twice; `out`
// is then of no use.
bool AppendHeader(absl::Span<const HeaderField> header, std::string& out);

}  // namespace sluice::usp

#endif  // SLUICE_PROTOCOLS_USP_HEADER_H_
