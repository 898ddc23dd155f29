// IoUringSocket is what the io_uring engine knows of one socket: what its owner wants, which
// operations are in the kernel to that end, and what they have brought and is still to be reported.
// It is an entry of an IdTable.
//
// A socket that receives does so in one of two ways. As a rule the kernel receives into a buffer of
// the pool whenever bytes arrive (kReceive). One that sends in bursts, or has memory of its own to
// receive into, or is one of datagrams, is watched (kReadable), and the engine receives.
#ifndef SLUICE_CORE_INTERNAL_IO_URING_SOCKET_H_
#define SLUICE_CORE_INTERNAL_IO_URING_SOCKET_H_

#include <cstdint>
#include <memory>

#include "sluice/core/internal/id_table.h"
#include "sluice/core/internal/io_uring_operations.h"
#include "sluice/core/internal/kept_bytes.h"
#include "sluice/core/internal/received_buffers.h"
#include "sluice/core/poller.h"

namespace sluice::internal {

struct IoUringSocket {
  // Brings what is in the kernel in line with what the owner wants. False when the queue of
  // submissions is full: to be called again.
  bool Submit(IoUringOperations& operations, EntryId id);

  // All operations have gone, with their ring.
  void ForgetOperations();

  // Before its close(2): ends it, and what is in the kernel for it.
  void End(IoUringOperations& operations, EntryId id, bool abort);

  Poller::Socket* socket = nullptr;
  int fd = -1;
  uint32_t generation = 0;
  bool used = false;
  // What the owner has asked for.
  bool receives : 1 = false;
  bool connects : 1 = false;
  bool send_blocked : 1 = false;
  bool datagrams : 1 = false;  // which are received as bursts are
  bool bursts : 1 = false;     // and so it is watched
  uint8_t small_receives = 0;  // since the last burst
  // What is in the kernel.
  bool receive_armed : 1 = false;
  bool receive_cancelled : 1 = false;
  bool readable_armed : 1 = false;
  bool readable_cancelled : 1 = false;
  bool writable_armed : 1 = false;
  bool hang_up_armed : 1 = false;
  // What is to be reported.
  bool readable : 1 = false;
  // Behind what is readable may be what no event tells of: the end, an error, or bytes behind an
  // urgent one, where recv(2) stops.
  bool more_behind : 1 = false;
  bool writable : 1 = false;
  bool hung_up : 1 = false;
  bool failed : 1 = false;  // of datagrams: there are errors to take
  bool end_pending : 1 = false;
  bool ended : 1 = false;  // nothing more will be received
  // Which lists it is in.
  bool ready = false;
  bool dirty = false;
  int error = 0;
  ReceivedBuffers::List received;
  std::unique_ptr<KeptBytes> kept;  // received before those

 private:
  bool any_armed() const {
    return receive_armed || readable_armed || writable_armed || hang_up_armed;
  }
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_IO_URING_SOCKET_H_
