// The steps that all engines over the system's sockets share: making listening and connecting
// sockets, their options and addresses; and the one place for what systems do differently there.
#ifndef SLUICE_CORE_INTERNAL_SOCKET_OPS_H_
#define SLUICE_CORE_INTERNAL_SOCKET_OPS_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "sluice/core/internal/unique_fd.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class Block;
class Buffer;

}  // namespace sluice

namespace sluice::internal {

class Pipe;

// CLOCK_MONOTONIC.
MonotonicTime SystemNow();

// A non-blocking, close-on-exec socket of the address's family; none, with errno set, where that
// fails. `type` is SOCK_STREAM or SOCK_DGRAM.
UniqueFd OpenSocket(const SocketAddress& address, int type);

// A bound and listening socket; non-blocking, close-on-exec. A stale Unix path is replaced.
absl::StatusOr<UniqueFd> OpenListener(const SocketAddress& address, const ListenOptions& options);

// The file that a Unix listener has made, of which the path may name another one later.
class UnixPath {
 public:
  UnixPath() = default;  // none
  // None, too, unless the listener has a path and the file is there.
  explicit UnixPath(const SocketAddress& listener);

  bool exists() const { return inode_ != 0; }

  // Removes the path, unless it names another file by now. To be called before the listener is
  // closed: a listening socket keeps its inode, so that until then no other file has the same.
  void Remove() const;

 private:
  std::string path_;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
};

// A non-blocking, close-on-exec socket of the address's family, with the options set, that
// connects. It becomes writable when the outcome is known, which PendingError then tells; a
// connection made at once (Unix sockets) is writable at once.
absl::StatusOr<UniqueFd> StartConnect(const SocketAddress& address, const SocketOptions& options);

// Sends from the front of `queue` until it is empty or the socket takes no more, and drains what
// has left. What is left of what lies in `lent` is owned by the queue then. Returns 0, or the errno
// of a broken socket.
int SendQueue(int fd, Buffer& queue, const Block& lent);

// Poller::SendFile on a socket, of at most so much that a fast peer of a large file does not hold
// up the others for long. By sendfile(2) where there is one and the file knows it; else it is read.
Poller::FileSent SendFilePart(int socket, int file, uint64_t offset, size_t length);

// What has arrived, in a pipe of the pool. None, with no error: recv(2) is to be asked, since there
// is no pipe, or nothing that splice(2) sees. (It does not step over an urgent byte, but says
// EAGAIN there, or 0 if the peer has ended, with bytes behind it.) None, with an errno: what
// recv(2) would have said.
PipePtr ReceivePipe(int socket, PipePool& pool, int& error);

// Sends from a pipe of the pool until it is empty or the socket takes no more. Returns 0, or the
// errno of a socket that is broken or cannot be sent to in this way.
int SendFromPipe(int socket, PipePool& pool, Pipe& pipe);

// Accepts connections for the listeners of one engine. It keeps one descriptor in reserve, by which
// a process that has no others sheds connections (accepts and closes them), so that peers are told
// rather than left hanging, and a listener does not stay ready.
class AcceptLoop {
 public:
  // `stand_in` is any open descriptor; it outlives the loop.
  explicit AcceptLoop(int stand_in);

  // A storm of new connections does not hold up the established ones for longer than this many
  // accepts a turn.
  static constexpr int kAcceptsPerTurn = 64;

  // What stopped a turn of accepting: 0, or the errno of an exhaustion, and how many connections
  // were shed for it.
  struct Shortage {
    int error = 0;
    int shed = 0;
  };

  // Hands over each connection that waits, up to kAcceptsPerTurn, until `accept` returns false; the
  // descriptor is then its own to close. With `inherit_buffer_sizes` each gets the listener's,
  // which TCP sockets, and on the BSDs Unix ones, have already.
  Shortage Run(int listener, bool inherit_buffer_sizes,
               absl::FunctionRef<bool(int fd, const SocketAddress& peer)> accept);

 private:
  int Shed(int listener);

  const int stand_in_;
  UniqueFd reserve_;
};

SocketAddress LocalAddressOf(int fd);

// What Poller::UnacknowledgedBytes says.
size_t UnacknowledgedBytesOf(int fd);

// SO_ERROR, which reading clears.
int PendingError(int fd);

// Makes the next close(2) send a reset.
void ResetOnClose(int fd);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_SOCKET_OPS_H_
