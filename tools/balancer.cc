#include "sluice/tools/balancer.h"

#include <algorithm>

namespace sluice::tools {
namespace {

// Doubles with each failure.
absl::Duration OutAfter(int failures) {
  const int doublings = std::clamp(failures - Balancer::kFailuresUntilOut, 0, 16);
  return std::min(Balancer::kShortestOut * (1 << doublings), Balancer::kLongestOut);
}

}  // namespace

Balancer::Counters& Balancer::Counters::operator+=(const Counters& other) {
  open += other.open;
  total += other.total;
  failed += other.failed;
  bytes_up += other.bytes_up;
  bytes_down += other.bytes_down;
  is_out |= other.is_out;
  return *this;
}

bool Balancer::Backend::IsBetterThan(const Backend& other, MonotonicTime now) const {
  if (IsOut(now) != other.IsOut(now)) return other.IsOut(now);
  return IsOut(now) ? out_until < other.out_until : counters.open < other.counters.open;
}

std::optional<size_t> Balancer::Begin(MonotonicTime now, const std::vector<bool>& tried) {
  std::optional<size_t> best;
  for (size_t i = 0; i < size(); ++i) {
    const size_t candidate = (next_ + i) % size();
    if (tried[candidate]) continue;
    if (!best.has_value() || backends_[candidate].IsBetterThan(backends_[*best], now))
      best = candidate;
  }
  if (!best.has_value()) return best;
  next_ = (*best + 1) % size();
  Backend& backend = backends_[*best];
  ++backend.counters.open;
  // While this try shows whether it is back, the others go elsewhere.
  backend.out_until = now + OutAfter(backend.failures);
  return best;
}

void Balancer::OnConnected(size_t backend) {
  backends_[backend].failures = 0;
  backends_[backend].counters.is_out = false;
  ++backends_[backend].counters.total;
}

void Balancer::OnFailed(size_t backend, MonotonicTime now) {
  Backend& failed = backends_[backend];
  --failed.counters.open;
  ++failed.counters.failed;
  failed.counters.is_out = ++failed.failures >= kFailuresUntilOut;
  failed.out_until = now + OutAfter(failed.failures);
}

void Balancer::OnEnded(size_t backend) { --backends_[backend].counters.open; }

void Balancer::AddBytes(size_t backend, uint64_t up, uint64_t down) {
  backends_[backend].counters.bytes_up += up;
  backends_[backend].counters.bytes_down += down;
}

}  // namespace sluice::tools
