#include "sluice/protocols/websocket/extensions.h"

#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/protocols/internal/http_head.h"

namespace sluice::websocket {
namespace {

// Takes pieces from the front of a header's value. Each answers false where there is none.
class Reader {
 public:
  explicit Reader(absl::string_view text) : rest_(text) {}

  bool AtEnd() {
    SkipSpace();
    return rest_.empty();
  }

  bool Take(char wanted) {
    SkipSpace();
    if (rest_.empty() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool TakeToken(std::string& token) {
    SkipSpace();
    size_t size = 0;
    while (size < rest_.size() && http::IsToken(rest_.substr(size, 1))) ++size;
    token = std::string(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return size != 0;
  }

  // A token, or one in quotes: RFC 6455 wants a token when they are taken off.
  bool TakeValue(std::string& value) {
    if (!Take('"')) return TakeToken(value);
    value.clear();
    while (!rest_.empty() && rest_.front() != '"') {
      if (rest_.front() == '\\') rest_.remove_prefix(1);
      if (rest_.empty()) return false;
      value.push_back(rest_.front());
      rest_.remove_prefix(1);
    }
    return Take('"') && http::IsToken(value);
  }

 private:
  void SkipSpace() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t'))
      rest_.remove_prefix(1);
  }

  absl::string_view rest_;
};

bool TakeExtension(Reader& reader, Extension& extension) {
  if (!reader.TakeToken(extension.name)) return false;
  while (reader.Take(';')) {
    Extension::Parameter parameter;
    if (!reader.TakeToken(parameter.name)) return false;
    if (reader.Take('=')) {
      std::string value;
      if (!reader.TakeValue(value)) return false;
      parameter.value = std::move(value);
    }
    extension.parameters.push_back(std::move(parameter));
  }
  return true;
}

}  // namespace

absl::optional<std::vector<Extension>> ParseExtensions(absl::string_view header) {
  Reader reader(header);
  std::vector<Extension> extensions;
  do {
    Extension extension;
    if (!TakeExtension(reader, extension)) return absl::nullopt;
    extensions.push_back(std::move(extension));
  } while (reader.Take(','));
  if (!reader.AtEnd()) return absl::nullopt;
  return extensions;
}

std::string FormatExtension(const Extension& extension) {
  std::string text = extension.name;
  for (const Extension::Parameter& parameter : extension.parameters) {
    absl::StrAppend(&text, "; ", parameter.name);
    if (parameter.value.has_value()) absl::StrAppend(&text, "=", *parameter.value);
  }
  return text;
}

}  // namespace sluice::websocket
