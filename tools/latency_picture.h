// A histogram drawn with characters: how the values are distributed, and at which value each
// percentile lies.
//
//     64 - 80 us  #########                                  9.7%
//     80 - 100 us ########################################  42.4%
//    ...
//   p50     |===========o                     91.2 us
//   p99     |==================o             152 us
//
// Thread-safe.
#ifndef SLUICE_TOOLS_LATENCY_PICTURE_H_
#define SLUICE_TOOLS_LATENCY_PICTURE_H_

#include <string>

#include "sluice/tools/histogram.h"
#include "sluice/tools/terminal.h"

namespace sluice::tools {

// Bars over ranges that grow by a constant factor, as fine as gives at most a dozen and a half of
// them; what lies outside the middle 99.8% has a bar of its own at each end. Empty when the
// histogram is.
std::string DistributionPicture(const Histogram& histogram, const Terminal& terminal);

// p50 to p99.99 and the maximum, on a logarithmic scale. Percentiles that fewer values than it
// takes could show are left out.
std::string PercentilePicture(const Histogram& histogram, const Terminal& terminal);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LATENCY_PICTURE_H_
