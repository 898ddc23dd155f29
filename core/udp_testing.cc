#include "sluice/core/udp_testing.h"

#include "sluice/core/kqueue_poller.h"
#include "sluice/core/poller_factory.h"

namespace sluice::test {

std::vector<UdpEngine> UdpEngines() {
  std::vector<UdpEngine> engines = {{"Epoll", [] { return CreatePoller(PollerKind::kEpoll); }},
                                    {"IoUring", [] { return CreatePoller(PollerKind::kIoUring); }},
                                    {"KqueueOnShim", internal::MakeKqueuePollerOnShim}};
  if (!absl::IsUnimplemented(CreatePoller(PollerKind::kKqueue).status()))
    engines.push_back({"Kqueue", [] { return CreatePoller(PollerKind::kKqueue); }});
  return engines;
}

}  // namespace sluice::test
