// The flags that only `bench` has, of those that describe a load.
#ifndef SLUICE_TOOLS_BENCH_FLAGS_H_
#define SLUICE_TOOLS_BENCH_FLAGS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/report_file.h"

namespace sluice::tools {

// Their names, behind those of LoadFlagNames().
std::vector<std::string> BenchFlagNames();

// What all of them say; protocol and url are the caller's to set. Bad usage is kInvalidArgument;
// another error is that of ProcessMeter::Attach.
absl::StatusOr<LoadOptions> BenchOptionsFromFlags();

// --report, opened; null where it is not given. The error names it.
absl::StatusOr<std::unique_ptr<ReportFile>> OpenReportFromFlags();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_BENCH_FLAGS_H_
