#include "sluice/tools/bench_flags.h"

#include "absl/flags/flag.h"
#include "sluice/tools/flag_types.h"
#include "sluice/tools/load_flags.h"

using MessageRate = sluice::tools::OrNone<sluice::tools::Frequency>;

ABSL_FLAG(
    MessageRate, rate, MessageRate(),
    "open loop: sends so many messages a second, over all connections, evenly spaced, however "
    "slowly answers come; latency counts from the time at which a message was to be sent. "
    "While --pipeline messages are in flight on a connection, those that are due on it wait, "
    "and their latency counts from when they were due. Without it: closed loop");

namespace sluice::tools {

std::vector<std::string> BenchFlagNames() {
  std::vector<std::string> names = LoadFlagNames();
  names.insert(names.end(), {"rate"});
  return names;
}

LoadOptions BenchOptionsFromFlags() {
  LoadOptions options = LoadOptionsFromFlags();
  if (const auto rate = absl::GetFlag(FLAGS_rate).value()) options.rate = rate->per_second();
  return options;
}

}  // namespace sluice::tools
