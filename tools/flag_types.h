// Types of command-line flags that know what they accept, so that a bad value is refused where it
// is read, with a message that says what would have been good.
//
// Example:
//   using Connections = WholeNumber<1, 1'000'000>;
//   ABSL_FLAG(Connections, connections, Connections(50), "connections to keep open");
//   --connections=0     ->  "takes a whole number from 1 to 1000000"
//
// Values; thread-compatible.
#ifndef SLUICE_TOOLS_FLAG_TYPES_H_
#define SLUICE_TOOLS_FLAG_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace sluice::tools {

namespace internal {
bool ParseWholeNumber(absl::string_view text, int64_t min, int64_t max, int64_t* value,
                      std::string* error);
bool ParseByteCount(absl::string_view text, int64_t min, int64_t max, int64_t* value,
                    std::string* error);
std::string FormatWholeNumber(int64_t value);
std::string FormatByteCount(int64_t value);
}  // namespace internal

// kMin to kMax, in decimal.
template <int64_t kMin, int64_t kMax>
class WholeNumber {
 public:
  constexpr explicit WholeNumber(int64_t value) : value_(value) {}
  constexpr int64_t value() const { return value_; }

  friend bool AbslParseFlag(absl::string_view text, WholeNumber* flag, std::string* error) {
    return internal::ParseWholeNumber(text, kMin, kMax, &flag->value_, error);
  }
  friend std::string AbslUnparseFlag(const WholeNumber& flag) {
    return internal::FormatWholeNumber(flag.value_);
  }

 private:
  int64_t value_;
};

// kMin to kMax bytes: 1024, 64KiB, 16MiB, 1GiB. (64K and 64k mean 64KiB.)
template <int64_t kMin, int64_t kMax>
class ByteCount {
 public:
  constexpr explicit ByteCount(int64_t value) : value_(value) {}
  constexpr int64_t value() const { return value_; }

  friend bool AbslParseFlag(absl::string_view text, ByteCount* flag, std::string* error) {
    return internal::ParseByteCount(text, kMin, kMax, &flag->value_, error);
  }
  friend std::string AbslUnparseFlag(const ByteCount& flag) {
    return internal::FormatByteCount(flag.value_);
  }

 private:
  int64_t value_;
};

// A positive duration (500ms, 5s, 1m30s), or inf.
class Timeout {
 public:
  explicit Timeout(absl::Duration value) : value_(value) {}
  absl::Duration value() const { return value_; }

  friend bool AbslParseFlag(absl::string_view text, Timeout* flag, std::string* error);
  friend std::string AbslUnparseFlag(const Timeout& flag);

 private:
  absl::Duration value_;
};

// A duration of 0 or more (500ms, 5s, 1m30s) that ends.
class Pause {
 public:
  explicit Pause(absl::Duration value) : value_(value) {}
  absl::Duration value() const { return value_; }

  friend bool AbslParseFlag(absl::string_view text, Pause* flag, std::string* error);
  friend std::string AbslUnparseFlag(const Pause& flag);

 private:
  absl::Duration value_;
};

// How often something happens in a second: 0.001 to 10,000,000 times, 0.5 or 20000.
class Frequency {
 public:
  explicit Frequency(double per_second) : per_second_(per_second) {}
  double per_second() const { return per_second_; }

  friend bool AbslParseFlag(absl::string_view text, Frequency* flag, std::string* error);
  friend std::string AbslUnparseFlag(const Frequency& flag);

 private:
  double per_second_;
};

// A number of one of these types, or none.
template <typename T>
class OrNone {
 public:
  OrNone() = default;
  const std::optional<T>& value() const { return value_; }

  friend bool AbslParseFlag(absl::string_view text, OrNone* flag, std::string* error) {
    if (text == "none") {
      flag->value_.reset();
      return true;
    }
    T value(0);
    if (!AbslParseFlag(text, &value, error)) {
      *error += ", or none";
      return false;
    }
    flag->value_ = value;
    return true;
  }
  friend std::string AbslUnparseFlag(const OrNone& flag) {
    return flag.value_.has_value() ? AbslUnparseFlag(*flag.value_) : "none";
  }

 private:
  std::optional<T> value_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_FLAG_TYPES_H_
