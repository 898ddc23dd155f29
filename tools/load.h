// Load puts a load on a server. In a closed loop each connection keeps a number of messages in
// flight and sends the next when an answer has come: so a slow server is asked less often, and its
// latencies are those of clients that wait. In an open loop (LoadOptions::rate) messages are sent
// as they are due, as by clients that arrive on their own, and latencies count from then: so a
// server that stalls is seen to stall.
//
// Example:
//   Load load({.protocol = protocol, .url = url, .connections = 50});
//   absl::StatusOr<LoadResult> result =
//       load.Run(absl::Seconds(1), [&](const Load::Progress& now) { ... });
//
// Each answer is compared with what was sent. A run ends when its duration is over and the missing
// answers are there, or are late; also before that when no connection is left.
//
// To be used by the thread that made it.
#ifndef SLUICE_TOOLS_LOAD_H_
#define SLUICE_TOOLS_LOAD_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/loop_group.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/load_course.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/load_watch.h"
#include "sluice/tools/load_worker.h"
#include "sluice/tools/message_pattern.h"

namespace sluice::tools {

class Load {
 public:
  struct Progress {
    LoadCourse::Progress course = {};
    bool connecting = false;  // not all connections are open yet
    uint64_t messages = 0;
    int open = 0;
    uint64_t errors = 0;
  };

  explicit Load(const LoadOptions& options);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Runs it to its end, and calls `show` every `interval` on the way. Once. SIGINT and SIGTERM make
  // it come to its end early. What fails on the way is in the result; errors are those of
  // LoopGroup::Start.
  absl::StatusOr<LoadResult> Run(absl::Duration interval,
                                 absl::FunctionRef<void(const Progress&)> show);

 private:
  using Show = absl::FunctionRef<void(const Progress&)>;

  absl::Status StartWorkers();
  Histogram ReadLatency();
  Progress TakeProgress();

  const LoadOptions options_;
  const MessagePattern pattern_;
  std::unique_ptr<LoopGroup> group_;
  std::vector<std::unique_ptr<LoadWorker>> workers_;  // one a loop, touched on its thread
  bool connecting_ = true;
  LoadWatch watch_;
  LoadCourse course_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_H_
