// The steps that all engines over the system's sockets share: making listening and connecting
// sockets, their options and addresses; and the one place for what systems do differently there.
#ifndef SLUICE_CORE_INTERNAL_SOCKET_OPS_H_
#define SLUICE_CORE_INTERNAL_SOCKET_OPS_H_

#include <sys/socket.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {

// A descriptor, closed with its owner.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd();
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

// What send(2) is told so that a peer that has gone is an error and no SIGPIPE. macOS before 14 has
// an option of the socket instead, which all sockets made here have.
#ifdef MSG_NOSIGNAL
inline constexpr int kNoSignal = MSG_NOSIGNAL;
#else
inline constexpr int kNoSignal = 0;
#endif

// A bound and listening socket; non-blocking, close-on-exec. A stale Unix path is replaced.
absl::StatusOr<UniqueFd> OpenListener(const SocketAddress& address, const ListenOptions& options);

// Which file a path names: device and inode. Both 0 for none.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

// The socket at the path of a Unix listener. A listening socket keeps its inode, so that no other
// file has the same identity until it is closed.
FileIdentity IdentifyUnixPath(const SocketAddress& address);

// Removes the path of a Unix listener, unless it names another file by now.
void RemoveUnixPath(const SocketAddress& address, const FileIdentity& identity);

// A non-blocking, close-on-exec socket of the address's family, with the options set.
absl::StatusOr<UniqueFd> OpenStream(const SocketAddress& address, const SocketOptions& options);

// accept(2) of a non-blocking, close-on-exec socket: a descriptor, or -1 and errno. `peer` may be
// null.
int AcceptNonBlocking(int listener, sockaddr* peer, socklen_t* length);

// Closes what `fd` stands for and makes it a duplicate of `other`, in one step; close-on-exec.
bool ReplaceFd(int fd, int other);

SocketAddress LocalAddressOf(int fd);

// Gives an accepted Unix socket the buffer sizes of its listener: TCP ones, and on the BSDs Unix
// ones, have them already.
void InheritBufferSizes(int listener, int accepted);

// SO_ERROR, which reading clears.
int PendingError(int fd);

// Makes the next close(2) send a reset.
void ResetOnClose(int fd);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_SOCKET_OPS_H_
