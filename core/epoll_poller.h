// The epoll(7) engine: level-triggered, one receive for a ready socket in a turn, into a buffer
// that all sockets of the loop share. Linux 2.6.28 or newer; timers are as exact as the system's
// from 5.11 on (epoll_pwait2), and rounded up to the next millisecond before.
#ifndef SLUICE_CORE_EPOLL_POLLER_H_
#define SLUICE_CORE_EPOLL_POLLER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "sluice/core/poller.h"

namespace sluice::internal {

absl::StatusOr<std::unique_ptr<Poller>> MakeEpollPoller();

}  // namespace sluice::internal

#endif  // SLUICE_CORE_EPOLL_POLLER_H_
