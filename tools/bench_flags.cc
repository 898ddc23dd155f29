#include "sluice/tools/bench_flags.h"

#include <cstdint>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/tools/flag_types.h"
#include "sluice/tools/load_flags.h"
#include "sluice/tools/process_meter.h"

using MessageRate = sluice::tools::OrNone<sluice::tools::Frequency>;
using Reconnect = sluice::tools::OrNone<sluice::tools::WholeNumber<1, 1'000'000'000>>;
using Pid = sluice::tools::OrNone<sluice::tools::WholeNumber<1, (int64_t{1} << 31) - 1>>;
using sluice::tools::Pause;

ABSL_FLAG(
    MessageRate, rate, MessageRate(),
    "open loop: sends so many messages a second, over all connections, evenly spaced, however "
    "slowly answers come; latency counts from the time at which a message was to be sent. "
    "While --pipeline messages are in flight on a connection, those that are due on it wait, "
    "and their latency counts from when they were due. Without it: closed loop");
ABSL_FLAG(Pause, think_time, Pause(absl::ZeroDuration()),
          "closed loop: waits so long after each answer before the message that it makes room for");
ABSL_FLAG(
    Reconnect, reconnect, Reconnect(),
    "closes each connection after so many messages, all of them answered, and opens another; "
    "tells how many a second, and how long each took to open. A closed one keeps its local port "
    "for a while, which Linux lets others have over loopback, and elsewhere with "
    "net.ipv4.tcp_tw_reuse=1");
ABSL_FLAG(Pause, warm_up, Pause(absl::ZeroDuration()),
          "puts the load on for so long before --duration begins, and counts nothing of it but "
          "errors");
ABSL_FLAG(Pid, pid, Pid(),
          "the server's process, on this machine: tells its processor time, in all and for each "
          "message, and its memory (Linux)");
ABSL_FLAG(std::string, report, "",
          "writes what came of it into this file, too: one HTML page with pictures, for a browser");

namespace sluice::tools {

std::vector<std::string> BenchFlagNames() {
  std::vector<std::string> names = LoadFlagNames();
  names.insert(names.end(), {"rate", "think_time", "reconnect", "warm_up", "pid", "report"});
  return names;
}

absl::StatusOr<LoadOptions> BenchOptionsFromFlags() {
  LoadOptions options = LoadOptionsFromFlags();
  if (const auto rate = absl::GetFlag(FLAGS_rate).value()) options.rate = rate->per_second();
  options.think_time = absl::GetFlag(FLAGS_think_time).value();
  if (const auto reconnect = absl::GetFlag(FLAGS_reconnect).value())
    options.reconnect = static_cast<uint64_t>(reconnect->value());
  options.warm_up = absl::GetFlag(FLAGS_warm_up).value();
  if (options.threads > options.connections)
    return absl::InvalidArgumentError("--threads may not be more than --connections");
  if (options.rate.has_value() && options.think_time > absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        "--think_time and --rate do not go together: with a rate messages do not wait for answers");
  }
  if (const auto pid = absl::GetFlag(FLAGS_pid).value()) {
    absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(static_cast<int>(pid->value()));
    if (!meter.ok())
      return absl::Status(meter.status().code(), absl::StrCat("--pid: ", meter.status().message()));
    options.meter = *std::move(meter);
  }
  options.over_time = !absl::GetFlag(FLAGS_report).empty();
  return options;
}

absl::StatusOr<std::unique_ptr<ReportFile>> OpenReportFromFlags() {
  const std::string name = absl::GetFlag(FLAGS_report);
  if (name.empty()) return nullptr;
  absl::StatusOr<ReportFile> file = ReportFile::Open(name);
  if (!file.ok()) {
    return absl::Status(file.status().code(), absl::StrCat("--report: ", file.status().message()));
  }
  return std::make_unique<ReportFile>(*std::move(file));
}

}  // namespace sluice::tools
