#include "sluice/core/internal/io_uring_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include "absl/base/optimization.h"
#include "sluice/core/internal/socket_ops.h"

namespace sluice::internal {
namespace {

// Ends a socket that operations in the kernel still refer to, so that close(2) alone would have no
// effect before they are gone.
void EndNow(int fd, bool abort) {
  if (abort) {
    // Dissolving the association sends the reset: connect(2).
    const sockaddr nowhere = {AF_UNSPEC, {}};
    if (connect(fd, &nowhere, sizeof(nowhere)) == 0) return;
  }
  shutdown(fd, SHUT_RDWR);
}

}  // namespace

bool IoUringSocket::Submit(IoUringOperations& operations, EntryId id) {
  if ((connects || send_blocked) && !writable_armed) {
    writable_armed = operations.Watch(IoUringOperation::kWritable, id, fd, POLLOUT);
    if (!writable_armed) return false;
  }
  const bool to_receive = receives && !connects && !ended;
  if (receive_armed) {
    if ((to_receive && !bursts) || receive_cancelled) return true;
    receive_cancelled = operations.Cancel(IoUringOperation::kReceive, id);
    return receive_cancelled;
  }
  if (readable_armed && !readable_cancelled && !(to_receive && bursts)) {
    readable_cancelled = operations.Cancel(IoUringOperation::kReadable, id);
    if (!readable_cancelled) return false;
  }
  if (!to_receive) {
    // Nobody reads, and would yet like to know that there is nobody left to write to.
    if (connects || ended || hung_up || hang_up_armed) return true;
    hang_up_armed = operations.Watch(IoUringOperation::kHangUp, id, fd, POLLERR | POLLHUP);
    return hang_up_armed;
  }
  if (readable_armed || readable) return true;
  if (ABSL_PREDICT_FALSE(bursts)) {
    readable_armed =
        operations.Watch(IoUringOperation::kReadable, id, fd, POLLIN | POLLPRI | POLLRDHUP,
                         IoUringOperations::Shots::kMany);
    return readable_armed;
  }
  receive_armed = operations.Receive(id, fd);
  return receive_armed;
}

void IoUringSocket::ForgetOperations() {
  receive_armed = receive_cancelled = false;
  readable_armed = readable_cancelled = false;
  writable_armed = hang_up_armed = false;
}

void IoUringSocket::End(IoUringOperations& operations, EntryId id, bool abort) {
  if (receive_armed) operations.CancelLater(IoUringOperation::kReceive, id);
  if (readable_armed) operations.CancelLater(IoUringOperation::kReadable, id);
  if (writable_armed) operations.CancelLater(IoUringOperation::kWritable, id);
  if (hang_up_armed) operations.CancelLater(IoUringOperation::kHangUp, id);
  if (any_armed()) {
    EndNow(fd, abort);
  } else if (abort) {
    ResetOnClose(fd);
  }
}

}  // namespace sluice::internal
