// The kqueue(2) engine, for macOS and the BSDs: level-triggered reads, one receive for a ready
// socket in a turn, into a buffer that all sockets of the loop share. What sockets have come to
// wait for goes to the system together with the wait, so that a turn is one system call. Timers are
// as exact as the system's. It needs EVFILT_USER: FreeBSD 8.1, macOS 10.6, NetBSD 10.
//
// A paused socket is not watched at all: it learns of a reset when it receives or sends again.
#ifndef SLUICE_CORE_KQUEUE_POLLER_H_
#define SLUICE_CORE_KQUEUE_POLLER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "sluice/core/poller.h"

namespace sluice::internal {

// kUnimplemented on systems without kqueue.
absl::StatusOr<std::unique_ptr<Poller>> MakeKqueuePoller();

// The same engine over kqueue_shim, on Linux: in //core:kqueue_poller_on_shim, for tests only.
absl::StatusOr<std::unique_ptr<Poller>> MakeKqueuePollerOnShim();

}  // namespace sluice::internal

#endif  // SLUICE_CORE_KQUEUE_POLLER_H_
