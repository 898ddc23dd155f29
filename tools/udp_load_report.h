// What came of a load over UDP, for people and for programs.
#ifndef SLUICE_TOOLS_UDP_LOAD_REPORT_H_
#define SLUICE_TOOLS_UDP_LOAD_REPORT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/tools/terminal.h"
#include "sluice/tools/udp_load_options.h"

namespace sluice::tools {

// What makes a run a failed one: that nothing was answered, or something wrongly. Loss does not.
absl::Status UdpLoadStatus(const UdpLoadOptions& options, const UdpLoadResult& result);

// A table, a picture of the latencies, and what was lost.
std::string UdpLoadReport(absl::string_view title, const UdpLoadOptions& options,
                          const UdpLoadResult& result, const Terminal& terminal);

// One JSON object on one line; latencies are in nanoseconds.
std::string UdpLoadReportJson(absl::string_view url, const UdpLoadOptions& options,
                              const UdpLoadResult& result);

// Runs a load and shows on standard error how it gets on.
absl::StatusOr<UdpLoadResult> RunUdpLoad(const UdpLoadOptions& options);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_UDP_LOAD_REPORT_H_
