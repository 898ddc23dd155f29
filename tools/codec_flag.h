// --codec: options of the protocol that a command speaks, the same way for each command and each
// protocol.
#ifndef SLUICE_TOOLS_CODEC_FLAG_H_
#define SLUICE_TOOLS_CODEC_FLAG_H_

#include <memory>

#include "absl/status/statusor.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// `protocol` with the options that the flag gives. Error: bad usage, which says what is accepted.
absl::StatusOr<std::shared_ptr<const Protocol>> WithCodecFlag(
    std::shared_ptr<const Protocol> protocol);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_CODEC_FLAG_H_
