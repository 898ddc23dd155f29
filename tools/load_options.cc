#include "sluice/tools/load_options.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace sluice::tools {

absl::string_view LoadErrors::Name(int kind) {
  static constexpr absl::string_view kNames[kKinds] = {"connect", "timeout",  "mismatch",
                                                       "closed",  "protocol", "tls"};
  return kNames[kind];
}

void LoadErrors::Add(Kind kind, absl::string_view what) {
  if (first.empty()) first = std::string(what);
  ++count[kind];
}

LoadErrors& LoadErrors::operator+=(const LoadErrors& other) {
  if (first.empty()) first = other.first;
  for (int kind = 0; kind < kKinds; ++kind) count[kind] += other.count[kind];
  return *this;
}

uint64_t LoadErrors::total() const {
  return std::accumulate(std::begin(count), std::end(count), uint64_t{0});
}

LoadResult& LoadResult::operator+=(const LoadResult& other) {
  connections += other.connections;
  compressed += other.compressed;
  messages += other.messages;
  bytes += other.bytes;
  unsent += other.unsent;
  elapsed = std::max(elapsed, other.elapsed);
  latency.Merge(other.latency);
  time_to_connect.Merge(other.time_to_connect);
  errors += other.errors;
  return *this;
}

double LoadResult::PerSecond(uint64_t count) const {
  return elapsed > absl::ZeroDuration()
             ? static_cast<double>(count) / absl::ToDoubleSeconds(elapsed)
             : 0;
}

}  // namespace sluice::tools
