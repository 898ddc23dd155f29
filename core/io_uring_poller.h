// The io_uring(7) engine: multishot receives into a pool of provided buffers, and one
// system call a turn that hands over what is new, waits, and receives for all sockets. A socket
// that sends a quarter of a buffer or more at once is watched instead, and received from with
// recv(2) into one large piece of memory, which leaves the pool to the others and is warm in the
// cache. The engine is asked for by name (PollerKind::kIoUring) and needs Linux 6.1 or newer; where
// the kernel is older or forbids it, the error says so.
//
// What is sent leaves inside Send, by send(2): as fast as a submission a turn (within 3%, with one
// message in flight and with sixteen, 64 B and 1 KiB), and so nothing that is sent must be kept
// alive for the kernel until a completion. What the transport refuses waits in its queue, and the
// ring watches for room.
//
// A listener is watched, and accepted from by accept4(2): internal/io_uring_acceptors.h says why.
//
// A socket of datagrams is watched, too, and received from by recvmmsg(2): a multishot recvmsg
// needs a buffer of the pool for each datagram, which cuts long ones and cannot hold what the
// system has joined, and a completion for each, where one call brings 64.
//
// Differences that a user could notice:
//  * A listener that is closed on another thread than the one that last ran the loop stops
//    listening at once, also for others that share it; a Unix name without a path (unix:@name) is
//    free when the loop is gone, and so is the port of a socket of datagrams.
//  * Bytes that arrive between StopReceiving and the end of the turn may be received: they are kept
//    (no more than the pool holds) and delivered first.
//  * What has arrived before a socket has a receive space gets there by a copy; what follows,
//    straight.
//
// The loop may be run by one thread after another. Each change makes a new ring.
//
// Its parts are in internal/: io_uring_ring (the queues) and io_uring_operations (what is asked of
// the kernel); provided_buffers (the pool), received_buffers and kept_bytes (what waits to be
// delivered); io_uring_socket and io_uring_acceptors (what there is to know of each), by the ids of
// id_table. Here are the turns that they take part in.
#ifndef SLUICE_CORE_IO_URING_POLLER_H_
#define SLUICE_CORE_IO_URING_POLLER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "sluice/core/poller.h"

namespace sluice::internal {

struct IoUringSizes {
  // The queues' entries, powers of two: 100 KiB, which newer kernels count as locked memory. More
  // completions than fit wait in the kernel.
  uint32_t submissions = 512;
  uint32_t completions = 4096;
  // The buffers of all sockets together; `buffers` is a power of two. One holds a message of 16 KiB
  // with its header, or sixteen of 1 KiB with theirs.
  uint16_t buffers = 64;
  uint32_t buffer_bytes = 16 * 1024 + 128;
};

// Errors: kUnimplemented, kPermissionDenied, kResourceExhausted.
absl::StatusOr<std::unique_ptr<Poller>> MakeIoUringPoller(const IoUringSizes& sizes = {});

}  // namespace sluice::internal

#endif  // SLUICE_CORE_IO_URING_POLLER_H_
