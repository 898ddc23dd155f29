#include "sluice/core/udp_testing.h"

#include "sluice/core/kqueue_poller.h"
#include "sluice/core/poller_factory.h"
#include "sluice/core/simulation.h"

namespace sluice::test {
namespace {

// All its engines are on one host.
UdpEngine Simulated() {
  auto network = std::make_shared<SimulatedNetwork>(/*seed=*/1);
  SimulatedHost& host = network->AddHost("host");
  return {.name = "Simulated",
          .make = [network, &host] { return host.NewPoller(); },
          .is_simulated = true};
}

}  // namespace

std::vector<UdpEngine> UdpEngines() {
  std::vector<UdpEngine> engines = {{"Epoll", [] { return CreatePoller(PollerKind::kEpoll); }},
                                    {"IoUring", [] { return CreatePoller(PollerKind::kIoUring); }},
                                    {"KqueueOnShim", internal::MakeKqueuePollerOnShim},
                                    Simulated()};
  if (!absl::IsUnimplemented(CreatePoller(PollerKind::kKqueue).status()))
    engines.push_back({"Kqueue", [] { return CreatePoller(PollerKind::kKqueue); }});
  return engines;
}

}  // namespace sluice::test
