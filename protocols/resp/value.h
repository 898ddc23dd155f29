// Value is a view of one value of the Redis protocol, RESP2 or RESP3, as ReplyCodec has decoded it:
// a string, a number, an array of values. It is not a container: it refers to the bytes that were
// received and to a list in the codec, and is valid as long as the message that it came with.
//
// Example: the reply to HGETALL, a map in RESP3.
//
//   for (auto field = reply.begin(); field != reply.end(); ++field) {
//     const absl::string_view name = (*field).string();
//     fields[std::string(name)] = std::string((*++field).string());
//   }
//
// The memory: all values of a message lie in one list in pre-order, 16 bytes each; strings are
// offsets into the received bytes. To go to a child, or past one, costs the same however deep it
// is. Nothing here recurses.
//
//   *2 :1 *1 +a        [array, extent 4] [integer 1] [array, extent 2] [simple string "a"]
//
// A streamed string ($?) is seen as a bulk string, a streamed array, set or map as an array, set or
// map.
//
// Thread-compatible, 24 bytes, cheap to copy. A function that asks for what a value is not gives an
// empty string, 0, false, or no children.
#ifndef SLUICE_PROTOCOLS_RESP_VALUE_H_
#define SLUICE_PROTOCOLS_RESP_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "absl/strings/string_view.h"

namespace sluice::resp {

enum class Kind : uint8_t {
  kNull,          // _ and, in RESP2, a bulk string of length -1
  kNullArray,     // RESP2: an array of length -1
  kSimpleString,  // +
  kError,         // -
  kInteger,       // :
  kBulkString,    // $
  kBoolean,       // #
  kDouble,        // ,
  kBigNumber,     // (
  kBulkError,     // !
  kVerbatim,      // =
  kArray,         // *
  kMap,           // %
  kSet,           // ~
  kPush,          // >
  kAttribute,     // |
};

namespace internal {

struct Node {
  bool is_aggregate() const { return kind >= Kind::kArray; }

  Kind kind = Kind::kNull;
  uint32_t extent = 1;  // nodes of this value, itself among them
  union {
    struct {
      uint32_t offset;
      uint32_t size;
    } text;          // strings, errors, big numbers
    int64_t number;  // integers, booleans
    double real;
    struct {
      uint32_t count;  // of children
    } children;        // without attributes
  };

  Node() : number(0) {}
};
static_assert(sizeof(Node) == 16);

}  // namespace internal

class Value {
 public:
  class Iterator;

  // A null.
  Value() = default;

  // `node` is the first of a value: where that has attributes, the first attribute.
  Value(const internal::Node* node, const uint8_t* bytes)
      : first_(node), node_(BehindAttributes(node)), bytes_(bytes) {}

  Kind kind() const { return node_ == nullptr ? Kind::kNull : node_->kind; }
  bool is_null() const { return kind() <= Kind::kNullArray; }
  bool is_error() const { return kind() == Kind::kError || kind() == Kind::kBulkError; }
  // A simple, bulk or verbatim string.
  bool is_string() const {
    return kind() == Kind::kSimpleString || kind() == Kind::kBulkString ||
           kind() == Kind::kVerbatim;
  }
  bool is_aggregate() const { return kind() >= Kind::kArray; }

  // The text of a string, an error ("ERR unknown command") or a big number; of a verbatim string
  // without its format.
  absl::string_view string() const;
  // What a verbatim string is written in: "txt", "mkd", three bytes.
  absl::string_view format() const;
  int64_t integer() const { return kind() == Kind::kInteger ? node_->number : 0; }
  bool boolean() const { return kind() == Kind::kBoolean && node_->number != 0; }
  double number() const { return kind() == Kind::kDouble ? node_->real : 0; }

  // Children: the elements of an array, set or push; of a map, and of attributes, keys and values
  // in turn.
  size_t size() const { return is_aggregate() ? node_->children.count : 0; }
  Iterator begin() const;
  Iterator end() const;
  // Walks there. Null for one that is not there.
  Value operator[](size_t index) const;

  // What the peer has said about this value (|), of kind kAttribute, whose children are keys and
  // values in turn; a null for nothing. (Attributes may have attributes of their own.)
  bool has_attributes() const { return first_ != node_; }
  Value attributes() const;

  // For encoders: the list of this value with its attributes.
  const internal::Node* nodes() const { return first_; }
  const internal::Node* nodes_end() const {
    return node_ == nullptr ? nullptr : node_ + node_->extent;
  }
  const uint8_t* bytes() const { return bytes_; }

 private:
  Value(const internal::Node* first, const internal::Node* node, const uint8_t* bytes)
      : first_(first), node_(node), bytes_(bytes) {}

  static const internal::Node* BehindAttributes(const internal::Node* node) {
    while (node->kind == Kind::kAttribute) node += node->extent;
    return node;
  }

  const internal::Node* first_ = nullptr;
  const internal::Node* node_ = nullptr;
  const uint8_t* bytes_ = nullptr;
};

class Value::Iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = Value;
  using difference_type = std::ptrdiff_t;
  using pointer = const Value*;
  using reference = Value;

  Iterator(const internal::Node* node, const uint8_t* bytes) : node_(node), bytes_(bytes) {}

  Value operator*() const { return Value(node_, bytes_); }
  Iterator& operator++() {
    node_ = Value(node_, bytes_).nodes_end();
    return *this;
  }
  friend bool operator==(const Iterator& a, const Iterator& b) { return a.node_ == b.node_; }

 private:
  const internal::Node* node_;
  const uint8_t* bytes_;
};

inline Value::Iterator Value::begin() const {
  return Iterator(is_aggregate() ? node_ + 1 : nodes_end(), bytes_);
}
inline Value::Iterator Value::end() const { return Iterator(nodes_end(), bytes_); }

}  // namespace sluice::resp

#endif  // SLUICE_PROTOCOLS_RESP_VALUE_H_
