// JsonObject writes one JSON object on one line (RFC 8259).
//
// Example:
//   JsonObject latency;
//   latency.Add("p50", int64_t{12});
//   JsonObject result;
//   result.Add("url", "ws://example/").Add("ok", true).Add("latency_ns", latency);
//   result.ToString();       // {"url":"ws://example/","ok":true,"latency_ns":{"p50":12}}
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_JSON_H_
#define SLUICE_TOOLS_JSON_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice::tools {

class JsonObject {
 public:
  // Names must be distinct. A string that is not valid UTF-8 is written byte by byte as if it were
  // Latin-1; a double that is not finite is written as null.
  JsonObject& Add(absl::string_view name, absl::string_view value);
  JsonObject& Add(absl::string_view name, const char* value) {
    return Add(name, absl::string_view(value));
  }
  JsonObject& Add(absl::string_view name, int64_t value);
  JsonObject& Add(absl::string_view name, uint64_t value);
  JsonObject& Add(absl::string_view name, double value);
  JsonObject& Add(absl::string_view name, bool value);
  JsonObject& Add(absl::string_view name, const JsonObject& value);
  // Null for none.
  template <typename T>
  JsonObject& Add(absl::string_view name, const std::optional<T>& value) {
    return value.has_value() ? Add(name, *value) : AddRaw(name, "null");
  }

  std::string ToString() const;

 private:
  JsonObject& AddRaw(absl::string_view name, absl::string_view json);

  std::string members_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_JSON_H_
