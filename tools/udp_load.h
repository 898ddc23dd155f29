// UdpLoad puts a load on a server that sends datagrams back. In a closed loop each socket keeps a
// number of them in flight, and sends the next when an answer has come or one is taken for lost; in
// an open loop (UdpLoadOptions::rate) they leave when they are due, as Load's messages do.
//
// Example:
//   UdpLoad load({.peer = server, .sockets = 50});
//   absl::StatusOr<UdpLoadResult> result =
//       load.Run(absl::Seconds(1), [&](const UdpLoad::Progress& now) { ... });
//
// A run ends when its duration is over and what is in flight then was answered or is lost.
//
// To be used by the thread that made it.
#ifndef SLUICE_TOOLS_UDP_LOAD_H_
#define SLUICE_TOOLS_UDP_LOAD_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/loop_group.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/load_course.h"
#include "sluice/tools/load_watch.h"
#include "sluice/tools/message_pattern.h"
#include "sluice/tools/udp_load_options.h"
#include "sluice/tools/udp_load_worker.h"

namespace sluice::tools {

class UdpLoad {
 public:
  struct Progress {
    LoadCourse::Progress course = {};
    uint64_t answers = 0;
    uint64_t lost = 0;
  };

  explicit UdpLoad(const UdpLoadOptions& options);
  ~UdpLoad();
  UdpLoad(const UdpLoad&) = delete;
  UdpLoad& operator=(const UdpLoad&) = delete;

  // Runs it to its end, and calls `show` every `interval` on the way. Once. SIGINT and SIGTERM make
  // it come to its end early. Errors: as LoopGroup::Start and UdpSocket::Connect.
  absl::StatusOr<UdpLoadResult> Run(absl::Duration interval,
                                    absl::FunctionRef<void(const Progress&)> show);

 private:
  using Show = absl::FunctionRef<void(const Progress&)>;

  absl::Status StartWorkers();
  Histogram ReadLatency();
  Progress TakeProgress();

  const UdpLoadOptions options_;
  const MessagePattern pattern_;
  std::unique_ptr<LoopGroup> group_;
  std::vector<std::unique_ptr<UdpLoadWorker>> workers_;  // one a loop, touched on its thread
  LoadWatch watch_;
  LoadCourse course_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_UDP_LOAD_H_
