// Tries seeds of the scenario of exploration.h over each protocol. By default a fixed set and a few
// that nobody has tried; a seed that fails is printed with its trace and with the flags that run it
// again, and only it:
//
//   tools/bazel run //tests/simulation:explore --
//       --protocol=raw --first_seed=N --seeds=1 --fresh_seeds=0
//
// Exit status 1 when a run fails, 2 on bad usage.
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "sluice/tests/simulation/exploration.h"

ABSL_FLAG(uint64_t, seeds, 200, "how many seeds to try, one after another");
ABSL_FLAG(uint64_t, first_seed, 1, "the first of them");
ABSL_FLAG(uint64_t, fresh_seeds, 20, "how many more to try, from a random one on");
ABSL_FLAG(std::string, protocol, "all", "raw, framing, websocket or all");

namespace sluice::exploration {
namespace {

bool Try(ProtocolKind kind, uint64_t first, uint64_t seeds) {
  if (seeds == 0) return true;
  Totals totals;
  const std::optional<std::string> report = Explore({.protocol = kind}, first, seeds, totals);
  if (report.has_value()) {
    std::fputs(report->c_str(), stdout);
    return false;
  }
  const absl::string_view name = ProtocolName(kind);
  std::printf(
      "%.*s: %llu seeds from %llu on: %llu connections, of which %llu broke, %llu messages, "
      "%llu crashes\n",
      static_cast<int>(name.size()), name.data(), static_cast<unsigned long long>(totals.seeds),
      static_cast<unsigned long long>(first), static_cast<unsigned long long>(totals.connections),
      static_cast<unsigned long long>(totals.broken),
      static_cast<unsigned long long>(totals.messages),
      static_cast<unsigned long long>(totals.crashes));
  return true;
}

int Main() {
  const std::string wanted = absl::GetFlag(FLAGS_protocol);
  const uint64_t fresh = std::random_device()();
  bool known = false;
  bool good = true;
  for (const ProtocolKind kind :
       {ProtocolKind::kRaw, ProtocolKind::kFraming, ProtocolKind::kWebSocket}) {
    if (wanted != "all" && wanted != ProtocolName(kind)) continue;
    known = true;
    good &= Try(kind, absl::GetFlag(FLAGS_first_seed), absl::GetFlag(FLAGS_seeds));
    good &= Try(kind, fresh, absl::GetFlag(FLAGS_fresh_seeds));
  }
  if (!known) {
    std::fputs("--protocol is raw, framing, websocket or all\n", stderr);
    return 2;
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace sluice::exploration

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return sluice::exploration::Main();
}
