#include "sluice/protocols/codec/composed_codec.h"

#include "absl/strings/str_cat.h"

namespace sluice::internal {

absl::Status NotOneInnerMessage(size_t payload_bytes, size_t taken) {
  if (taken == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a frame of ", payload_bytes, " bytes ends inside the message that it carries"));
  }
  return absl::InvalidArgumentError(absl::StrCat("a frame of ", payload_bytes, " bytes has ",
                                                 payload_bytes - taken,
                                                 " left behind the message that it carries"));
}

}  // namespace sluice::internal
