#include "sluice/core/poller_factory.h"

#include "sluice/core/epoll_poller.h"
#include "sluice/core/io_uring_poller.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<Poller>> CreatePoller(PollerKind kind) {
  switch (kind) {
    case PollerKind::kAuto:
    case PollerKind::kEpoll:
      return internal::MakeEpollPoller();
    case PollerKind::kIoUring:
      return internal::MakeIoUringPoller();
  }
  return absl::InvalidArgumentError("no such kind of poller");
}

}  // namespace sluice
