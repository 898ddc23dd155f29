// Runs a scenario with one seed after another, and says with which one something went wrong.
//
// The scenario: a server that sends everything back, and clients that talk to it over a network
// whose faults the seed chooses: latency, loss, resets, partitions, short sends and receives, hosts
// that stall, too few descriptors; and processes and machines that crash, on both sides, and come
// back. A client whose connection breaks, or that has crashed, connects again and begins anew.
// After a while the network is perfect, and all must come to a good end: each client has all its
// messages sent back on one connection.
//   * Nothing is lost, doubled or out of its order, up to where a connection breaks.
//   * Every connection gets exactly one OnClose, and nothing after it. What was on a host that has
//     crashed hears nothing before the end of its loop.
//   * No connection, stream, timer or descriptor is left, and the memory is what it was.
#ifndef SLUICE_TESTS_SIMULATION_EXPLORATION_H_
#define SLUICE_TESTS_SIMULATION_EXPLORATION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "sluice/tests/simulation/protocols.h"

namespace sluice::exploration {

struct Scenario {
  ProtocolKind protocol = ProtocolKind::kRaw;
  Bug bug = Bug::kNone;
};

// What happened, so that one sees that something did.
struct Totals {
  uint64_t seeds = 0;
  uint64_t connections = 0;
  uint64_t broken = 0;    // of the connections
  uint64_t messages = 0;  // sent back
  uint64_t crashes = 0;
};

// What happens in the run of a seed.
std::string TraceOf(const Scenario& scenario, uint64_t seed);

// The first failing seed's report: the flags with which explore runs that seed and no other, what
// went wrong, and the trace of a second run of it, which is to fail in the same way. Nothing when
// all went well.
std::optional<std::string> Explore(const Scenario& scenario, uint64_t first_seed, uint64_t seeds,
                                   Totals& totals);

}  // namespace sluice::exploration

#endif  // SLUICE_TESTS_SIMULATION_EXPLORATION_H_
