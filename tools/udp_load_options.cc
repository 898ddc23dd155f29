#include "sluice/tools/udp_load_options.h"

#include <algorithm>

namespace sluice::tools {

UdpLoadResult& UdpLoadResult::operator+=(const UdpLoadResult& other) {
  counts += other.counts;
  bytes += other.bytes;
  unread += other.unread;
  unsent += other.unsent;
  errors += other.errors;
  if (first_error.empty()) first_error = other.first_error;
  elapsed = std::max(elapsed, other.elapsed);
  latency.Merge(other.latency);
  return *this;
}

double UdpLoadResult::PerSecond(uint64_t count) const {
  return elapsed > absl::ZeroDuration()
             ? static_cast<double>(count) / absl::ToDoubleSeconds(elapsed)
             : 0;
}

}  // namespace sluice::tools
