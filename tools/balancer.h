// Balancer says which of several equal servers (backends) the next connection goes to: the one with
// the fewest, in turns where several have as few. It learns from the connections themselves which
// are out of order (passive health): one that could not be connected to several times in a row is
// left out, for a time that doubles with each further failure, and then gets one connection to show
// itself. When all are out, the one that has been out for longest gets it all the same.
//
// Example:
//   std::vector<bool> tried(backends.size());
//   while (std::optional<size_t> backend = backends.Begin(loop.now(), tried)) {
//     tried[*backend] = true;
//     if (Connect(*backend)) {
//       backends.OnConnected(*backend);
//       ...
//       return backends.OnEnded(*backend);
//     }
//     backends.OnFailed(*backend, loop.now());
//   }
//
// Thread-compatible: each loop has its own, and learns for itself.
#ifndef SLUICE_TOOLS_BALANCER_H_
#define SLUICE_TOOLS_BALANCER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "sluice/core/monotonic_time.h"

namespace sluice::tools {

class Balancer {
 public:
  static constexpr int kFailuresUntilOut = 3;
  static constexpr absl::Duration kShortestOut = absl::Seconds(1);
  static constexpr absl::Duration kLongestOut = absl::Minutes(1);

  struct Counters {
    uint64_t open = 0;        // connections, and tries under way
    uint64_t total = 0;       // connections that stood
    uint64_t failed = 0;      // tries that did not lead to one
    uint64_t bytes_up = 0;    // that went to it
    uint64_t bytes_down = 0;  // that came from it
    bool is_out = false;

    Counters& operator+=(const Counters& other);
  };

  explicit Balancer(size_t count) : backends_(count) {}

  size_t size() const { return backends_.size(); }

  // A try begins, with one that is not in `tried`; none when all are. One of those below ends it.
  std::optional<size_t> Begin(MonotonicTime now, const std::vector<bool>& tried);

  void OnConnected(size_t backend);  // and OnEnded later
  void OnFailed(size_t backend, MonotonicTime now);
  void OnEnded(size_t backend);  // also of a try that was given up
  void AddBytes(size_t backend, uint64_t up, uint64_t down);

  const Counters& counters(size_t backend) const { return backends_[backend].counters; }

 private:
  struct Backend {
    Counters counters;
    int failures = 0;         // since the last connection
    MonotonicTime out_until;  // where it is out

    bool IsOut(MonotonicTime now) const { return counters.is_out && now < out_until; }
    bool IsBetterThan(const Backend& other, MonotonicTime now) const;
  };

  std::vector<Backend> backends_;
  size_t next_ = 0;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_BALANCER_H_
