// How the commands connect to the hosts that their users name: by what the system's resolver knows,
// whose answers are remembered for a while, and by RFC 8305.
//
// Thread-safe.
#ifndef SLUICE_TOOLS_SYSTEM_DIALER_H_
#define SLUICE_TOOLS_SYSTEM_DIALER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "sluice/core/dialer.h"

namespace sluice::tools {

absl::StatusOr<std::shared_ptr<const Dialer>> NewSystemDialer();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_SYSTEM_DIALER_H_
