// What a process that holds many connections asks of its system.
#ifndef SLUICE_TOOLS_PROCESS_LIMITS_H_
#define SLUICE_TOOLS_PROCESS_LIMITS_H_

#include <cstdint>

#include "absl/status/status.h"

namespace sluice::tools {

// Raises the number of descriptors that this process may have to the most that it may ask for
// (RLIMIT_NOFILE's hard limit): the usual 1024 is for programs that use select(2), which sluice
// does not.
void RaiseDescriptorLimit();

// kResourceExhausted, with what helps, where one table of descriptors may not have so many as
// `connections` take, and a few more. `may_divide` says whether --own_descriptor_tables is there to
// be set.
absl::Status CheckDescriptorLimit(int64_t connections, bool may_divide);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_PROCESS_LIMITS_H_
