#include "sluice/tools/load_flags.h"

#include "absl/flags/flag.h"
#include "sluice/tools/flag_types.h"
#include "sluice/tools/message_sizes.h"
#include "sluice/tools/shared_flags.h"

using LoadConnections = sluice::tools::WholeNumber<1, 1'000'000>;
using Pipeline = sluice::tools::WholeNumber<1, 65'536>;
using sluice::tools::MessageSizes;
using sluice::tools::Timeout;

ABSL_FLAG(LoadConnections, connections, LoadConnections(50), "connections to keep open");
ABSL_FLAG(Pipeline, pipeline, Pipeline(1), "messages in flight on each connection");
ABSL_FLAG(
    MessageSizes, size, MessageSizes(1024),
    "bytes of a message, or several sizes with weights, mixed at random, always the same way: "
    "64:80,4KiB:15,64KiB:5");
ABSL_FLAG(Timeout, duration, Timeout(absl::Seconds(5)),
          "how long to go on, once all connections are open");

namespace sluice::tools {

std::vector<std::string> LoadFlagNames() {
  return {"connections", "pipeline", "size", "duration", "threads"};
}

LoadOptions LoadOptionsFromFlags() {
  LoadOptions options;
  options.connections = static_cast<int>(absl::GetFlag(FLAGS_connections).value());
  options.pipeline = static_cast<int>(absl::GetFlag(FLAGS_pipeline).value());
  options.size = absl::GetFlag(FLAGS_size);
  options.duration = absl::GetFlag(FLAGS_duration).value();
  options.threads = static_cast<int>(absl::GetFlag(FLAGS_threads).value());
  return options;
}

}  // namespace sluice::tools
