#include "sluice/tools/process_limits.h"

#include <sys/resource.h>

#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

// Standard streams, the loop's own, what a resolver or the runtime has open.
constexpr int64_t kOthers = 32;

}  // namespace

void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

absl::Status CheckDescriptorLimit(int64_t connections, bool may_divide) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      static_cast<int64_t>(limit.rlim_cur) >= connections + kOthers) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      connections, " connections take a descriptor each, and a process may have ", limit.rlim_cur,
      " (RLIMIT_NOFILE): raise it with ulimit -n or LimitNOFILE=, ",
      may_divide
          ? "give each of several --threads a table of its own with --own_descriptor_tables, "
          : "",
      "or run several processes"));
}

}  // namespace sluice::tools
