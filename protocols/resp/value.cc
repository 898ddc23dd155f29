#include "sluice/protocols/resp/value.h"

namespace sluice::resp {
namespace {

constexpr size_t kFormatBytes = 3;  // "txt", and a colon behind it

absl::string_view TextOf(const internal::Node& node, const uint8_t* bytes) {
  return absl::string_view(reinterpret_cast<const char*>(bytes) + node.text.offset, node.text.size);
}

}  // namespace

absl::string_view Value::string() const {
  switch (kind()) {
    case Kind::kSimpleString:
    case Kind::kError:
    case Kind::kBulkString:
    case Kind::kBigNumber:
    case Kind::kBulkError:
      return TextOf(*node_, bytes_);
    case Kind::kVerbatim:
      return TextOf(*node_, bytes_).substr(kFormatBytes + 1);
    default:
      return "";
  }
}

absl::string_view Value::format() const {
  return kind() == Kind::kVerbatim ? TextOf(*node_, bytes_).substr(0, kFormatBytes) : "";
}

Value Value::operator[](size_t index) const {
  if (index >= size()) return Value();
  Iterator child = begin();
  for (; index > 0; --index) ++child;
  return *child;
}

Value Value::attributes() const {
  if (!has_attributes()) return Value();
  const internal::Node* last = first_;
  while (last + last->extent != node_) last += last->extent;
  return Value(first_, last, bytes_);
}

}  // namespace sluice::resp
