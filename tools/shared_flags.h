// Flags that more than one command accepts.
#ifndef SLUICE_TOOLS_SHARED_FLAGS_H_
#define SLUICE_TOOLS_SHARED_FLAGS_H_

#include <cstdint>

#include "absl/flags/declare.h"
#include "sluice/tools/flag_types.h"

namespace sluice::tools {

using Threads = WholeNumber<1, 1024>;
using MessageBytes = ByteCount<1, (int64_t{1} << 31) - 1>;
inline constexpr MessageBytes kDefaultMaxMessageBytes(1024 * 1024);

}  // namespace sluice::tools

ABSL_DECLARE_FLAG(sluice::tools::Threads, threads);
ABSL_DECLARE_FLAG(sluice::tools::MessageBytes, max_message_bytes);
ABSL_DECLARE_FLAG(sluice::tools::Timeout, timeout);
ABSL_DECLARE_FLAG(sluice::tools::Timeout, lost_after);
ABSL_DECLARE_FLAG(bool, deflate);
ABSL_DECLARE_FLAG(bool, json);
ABSL_DECLARE_FLAG(bool, own_descriptor_tables);

#endif  // SLUICE_TOOLS_SHARED_FLAGS_H_
