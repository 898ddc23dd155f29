#ifndef SLUICE_PROTOCOLS_RESP_INTERNAL_OPTIONS_H_
#define SLUICE_PROTOCOLS_RESP_INTERNAL_OPTIONS_H_

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace sluice::resp::internal {

// Room for any number and its line breaks, so that it is never a number that is too long.
constexpr int64_t kSmallestFrame = 64;

// Positions in a frame have 32 bits.
inline void CheckOption(absl::string_view name, int64_t value, int64_t least,
                        absl::Status& status) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (value >= least && value <= kMost) return;
  status.Update(absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, "; accepted: ", least, " to ", kMost)));
}

}  // namespace sluice::resp::internal

#endif  // SLUICE_PROTOCOLS_RESP_INTERNAL_OPTIONS_H_
