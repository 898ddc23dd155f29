// What came of a load, for people and for programs.
#ifndef SLUICE_TOOLS_LOAD_REPORT_H_
#define SLUICE_TOOLS_LOAD_REPORT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/terminal.h"

namespace sluice::tools {

// A table, a picture of the latencies, and the errors.
std::string LoadReport(absl::string_view title, const LoadOptions& options,
                       const LoadResult& result, const Terminal& terminal);

// One JSON object on one line; latencies are in nanoseconds.
std::string LoadReportJson(absl::string_view url, const LoadOptions& options,
                           const LoadResult& result);

// Runs a load and shows on standard error how it gets on.
absl::StatusOr<LoadResult> RunLoad(const LoadOptions& options);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_REPORT_H_
