// The one place where errno becomes an absl::Status.
#ifndef SLUICE_CORE_INTERNAL_SYSTEM_ERROR_H_
#define SLUICE_CORE_INTERNAL_SYSTEM_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice::internal {

// "127.0.0.1:80: connect: Connection refused", with the code that a caller can act on: kUnavailable
// for what another try may mend (refused, reset, unreachable), kDeadlineExceeded for ETIMEDOUT,
// kAlreadyExists for EADDRINUSE, kResourceExhausted for descriptors and memory, kPermissionDenied,
// kInvalidArgument; others as absl::ErrnoToStatus. For EMFILE it says how to have more descriptors.
absl::Status SystemError(int error, absl::string_view operation, absl::string_view subject);

// True for the errors of a process or system that has run out of descriptors or memory for sockets.
bool IsExhaustion(int error);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_SYSTEM_ERROR_H_
