#ifndef SLUICE_PROTOCOLS_RESP_INTERNAL_NUMBER_H_
#define SLUICE_PROTOCOLS_RESP_INTERNAL_NUMBER_H_

#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/base/optimization.h"

namespace sluice::resp::internal {

// A whole number and the CRLF behind it.
struct NumberLine {
  enum class State : uint8_t { kWhole, kUnfinished, kWrong };
  State state;
  int64_t value;
  size_t end;  // behind the CRLF
};

// Reads the number that begins at `at`, in the one form that Redis takes: an optional '-', digits,
// no leading zero, within 64 bits. Looks at no more than 22 bytes, so that it may start anew when
// more have come.
inline NumberLine ReadNumberLine(const uint8_t* in, size_t at, size_t size) {
  using State = NumberLine::State;
  const bool negative = at < size && in[at] == '-';
  const size_t first = negative ? at + 1 : at;
  size_t end = first;
  uint64_t value = 0;
  for (; end < size; ++end) {
    const uint8_t digit = static_cast<uint8_t>(in[end] - '0');
    if (digit > 9) break;
    if (ABSL_PREDICT_FALSE(end - first >= 19)) return {State::kWrong, 0, 0};
    value = value * 10 + digit;
  }
  const bool zero_in_front = end > first && in[first] == '0' && (negative || end > first + 1);
  const uint64_t largest = uint64_t{std::numeric_limits<int64_t>::max()} + (negative ? 1 : 0);
  if (ABSL_PREDICT_FALSE(zero_in_front || value > largest)) return {State::kWrong, 0, 0};
  if (ABSL_PREDICT_FALSE(end == size)) return {State::kUnfinished, 0, 0};
  if (ABSL_PREDICT_FALSE(end == first || in[end] != '\r')) return {State::kWrong, 0, 0};
  if (ABSL_PREDICT_FALSE(end + 1 == size)) return {State::kUnfinished, 0, 0};
  if (ABSL_PREDICT_FALSE(in[end + 1] != '\n')) return {State::kWrong, 0, 0};
  return {State::kWhole, static_cast<int64_t>(negative ? uint64_t{0} - value : value), end + 2};
}

}  // namespace sluice::resp::internal

#endif  // SLUICE_PROTOCOLS_RESP_INTERNAL_NUMBER_H_
