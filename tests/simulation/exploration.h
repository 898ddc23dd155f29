// Runs a scenario with one seed after another, and says with which one something went wrong.
//
// The scenario: a server that sends everything back, and clients that talk to it over a network
// whose faults the seed chooses: latency, loss, resets, partitions, short sends and receives, hosts
// that stall, too few descriptors. A client whose connection breaks connects again. After a while
// the network is perfect, and all must come to a good end:
//   * nothing is lost, doubled or out of its order, up to where a connection breaks;
//   * every connection gets exactly one OnClose, and nothing after it;
//   * no connection, stream or timer is left, and the memory is what it was.
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
};

// The first failing seed's report: the seed, what went wrong, and the trace of a second run of it,
// which is to fail in the same way. Nothing when all went well.
std::optional<std::string> Explore(const Scenario& scenario, uint64_t first_seed, uint64_t seeds,
                                   Totals& totals);

}  // namespace sluice::exploration

#endif  // SLUICE_TESTS_SIMULATION_EXPLORATION_H_
