#include "sluice/core/poller_factory.h"

#include "sluice/core/epoll_poller.h"
#include "sluice/core/io_uring_poller.h"
#include "sluice/core/kqueue_poller.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<Poller>> CreatePoller(PollerKind kind) {
  switch (kind) {
#ifdef __linux__
    case PollerKind::kAuto:
#endif
    case PollerKind::kEpoll:
      return internal::MakeEpollPoller();
    case PollerKind::kIoUring:
      return internal::MakeIoUringPoller();
#ifndef __linux__
    case PollerKind::kAuto:
#endif
    case PollerKind::kKqueue:
      return internal::MakeKqueuePoller();
  }
  return absl::InvalidArgumentError("no such kind of poller");
}

}  // namespace sluice
