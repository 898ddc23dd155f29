// The page (LoadPage) of what `bench` found.
//
// Thread-safe.
#ifndef SLUICE_TOOLS_BENCH_PAGE_H_
#define SLUICE_TOOLS_BENCH_PAGE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/udp_load_options.h"

namespace sluice::tools {

// `ended` is when.
std::string BenchPage(absl::string_view url, absl::Time ended, const LoadOptions& options,
                      const LoadResult& result);
std::string BenchPage(absl::string_view url, absl::Time ended, const UdpLoadOptions& options,
                      const UdpLoadResult& result);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_BENCH_PAGE_H_
