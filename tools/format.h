// Numbers for people: three significant digits and a unit.
//
// Example:
//   FormatCount(1234567);                               // "1,234,567"
//   FormatRate(246913);                                 // "247 k"
//   FormatBytes(1536);                                  // "1.50 KiB"
//   FormatLatency(absl::Microseconds(12.3), terminal);  // "12.3 µs", or "12.3 us" where only ASCII
//   can be shown
//
// Thread-safe.
#ifndef SLUICE_TOOLS_FORMAT_H_
#define SLUICE_TOOLS_FORMAT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/tools/terminal.h"

namespace sluice::tools {

std::string FormatCount(uint64_t count);
// "1 thread", "1,234 threads".
std::string FormatCounted(uint64_t count, absl::string_view noun);
std::string FormatRate(double per_second);
std::string FormatBytes(double bytes);
std::string FormatLatency(absl::Duration latency, const Terminal& terminal);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_FORMAT_H_
