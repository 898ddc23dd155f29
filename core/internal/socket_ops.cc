#include "sluice/core/internal/socket_ops.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#ifdef __linux__
#include <linux/sockios.h>
#include <sys/sendfile.h>
#endif
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/file_queue.h"
#include "sluice/core/internal/pipe.h"
#include "sluice/core/internal/system_calls.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

// What send(2) is told so that a peer that has gone is an error and no SIGPIPE. macOS before 14 has
// an option of the socket instead, which all sockets made here have.
#ifdef MSG_NOSIGNAL
constexpr int kNoSignal = MSG_NOSIGNAL;
#else
constexpr int kNoSignal = 0;
#endif

constexpr size_t kIoVecs = 64;

bool SetOption(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

// macOS has neither accept4 nor these flags of socket(2): what a socket should be from birth on is
// set right after it.
#ifndef SOCK_NONBLOCK
int MadeNonBlocking(UniqueFd fd) {
  if (!fd.ok() || fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0 ||
      fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK) != 0)
    return -1;
#if !defined(MSG_NOSIGNAL) && defined(SO_NOSIGPIPE)
  if (!SetOption(fd.get(), SOL_SOCKET, SO_NOSIGPIPE, 1)) return -1;
#endif
  return fd.Release();
}
#endif

// Sockets accepted from a listener inherit all of these on Linux and the BSDs, so that they cost
// nothing a connection; but for Unix ones (InheritBufferSizes).
absl::Status ApplyOptions(int fd, const SocketAddress& address, const SocketOptions& options) {
  bool ok = true;
  if (options.send_buffer_bytes != 0)
    ok = ok && SetOption(fd, SOL_SOCKET, SO_SNDBUF, options.send_buffer_bytes);
  if (options.receive_buffer_bytes != 0)
    ok = ok && SetOption(fd, SOL_SOCKET, SO_RCVBUF, options.receive_buffer_bytes);
  if (address.is_ip()) {
    if (options.no_delay) ok = ok && SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (options.keep_alive) {
      ok = ok && SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
      constexpr int kKeepIdle = TCP_KEEPIDLE;
#else
      constexpr int kKeepIdle = TCP_KEEPALIVE;  // macOS
#endif
      if (options.keep_alive_idle_s != 0)
        ok = ok && SetOption(fd, IPPROTO_TCP, kKeepIdle, options.keep_alive_idle_s);
      if (options.keep_alive_interval_s != 0)
        ok = ok && SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, options.keep_alive_interval_s);
      if (options.keep_alive_probes != 0)
        ok = ok && SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, options.keep_alive_probes);
    }
  }
  return ok ? absl::OkStatus() : SystemError(errno, "setsockopt", address.ToString());
}

// A socket file without a listener: what a process that died has left.
bool IsStaleUnixSocket(const SocketAddress& address) {
  struct stat info;
  if (address.path()[0] == '@' || lstat(address.path().c_str(), &info) != 0 ||
      !S_ISSOCK(info.st_mode))
    return false;
  UniqueFd probe = OpenSocket(address, SOCK_STREAM);
  return probe.ok() && connect(probe.get(), address.data(), address.length()) != 0 &&
         errno == ECONNREFUSED;
}

SocketAddress AnyIpv4(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

// accept(2) of a non-blocking, close-on-exec socket: a descriptor, or -1 and errno. `peer` may be
// null.
int AcceptNonBlocking(int listener, sockaddr* peer, socklen_t* length) {
#ifdef SOCK_NONBLOCK
  return accept4(listener, peer, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
  return MadeNonBlocking(UniqueFd(accept(listener, peer, length)));
#endif
}

// Closes what `fd` stands for and makes it a duplicate of `other`, in one step; close-on-exec.
bool ReplaceFd(int fd, int other) {
#ifdef __APPLE__
  return dup2(other, fd) >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
#else
  return dup3(other, fd, O_CLOEXEC) >= 0;
#endif
}

UniqueFd OpenReserve() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// Gives an accepted Unix socket the buffer sizes of its listener: TCP ones, and on the BSDs Unix
// ones, have them already.
#ifdef __linux__
void InheritBufferSizes(int listener, int accepted) {
  for (const int name : {SO_SNDBUF, SO_RCVBUF}) {
    int doubled = 0;
    socklen_t length = sizeof(doubled);
    if (getsockopt(listener, SOL_SOCKET, name, &doubled, &length) == 0)
      SetOption(accepted, SOL_SOCKET, name, doubled / 2);
  }
}
#else
void InheritBufferSizes(int, int) {}
#endif

// So much of a file is sent in one turn: enough that the calls around it cost nothing.
constexpr size_t kFileBytesPerTurn = 1024 * 1024;

// No error of its socket that send(2) meets by waiting.
bool WouldBlock(int error) { return error == EAGAIN || error == ENOBUFS; }

Poller::FileSent SendByReading(int socket, int file, uint64_t offset, size_t length) {
  const BlockPtr block(Block::New(Block::kMaxPooled));
  Poller::FileSent result;
  while (result.bytes < length) {
    const absl::Span<uint8_t> space(block->storage(),
                                    std::min<size_t>(block->capacity(), length - result.bytes));
    const ssize_t read = ReadAt(file, offset + result.bytes, space);
    if (read <= 0) {
      result.error = read == 0 ? 0 : errno;
      result.file_ended = read == 0;
      break;
    }
    const ssize_t n = send(socket, space.data(), static_cast<size_t>(read), kNoSignal);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && !WouldBlock(errno)) result.error = errno;
    if (n > 0) result.bytes += static_cast<size_t>(n);
    if (n < read) break;
  }
  return result;
}

#ifdef __linux__
// sendfile(2) cannot be told, as send(2) can, that a peer that has gone is an error and no SIGPIPE.
// The signal is for the thread that called, so it can be held back there and taken out again. One
// that was pending before is left to whom it concerns.
class WithoutSigPipe {
 public:
  WithoutSigPipe() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    if (sigismember(&before_, SIGPIPE) == 0) return;
    sigset_t pending;
    was_pending_ = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
  }
  ~WithoutSigPipe() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSigPipe(const WithoutSigPipe&) = delete;
  WithoutSigPipe& operator=(const WithoutSigPipe&) = delete;

  void TakeSignal() {
    const timespec at_once = {};
    while (!was_pending_ && sigtimedwait(&sigpipe_, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }

 private:
  sigset_t sigpipe_;
  sigset_t before_;
  bool was_pending_ = false;
};

// As sendfile(2).
ssize_t SendFileQuietly(int socket, int file, uint64_t offset, size_t length) {
  WithoutSigPipe without_sigpipe;
  auto from = static_cast<off_t>(offset);
  ssize_t n;
  do {
    n = sendfile(socket, file, &from, length);
  } while (n < 0 && errno == EINTR);
  // A call that was cut short may have met the broken peer after it had sent something.
  if (n < 0 ? errno == EPIPE : static_cast<size_t>(n) < length) {
    const int error = errno;
    without_sigpipe.TakeSignal();
    errno = error;
  }
  return n;
}
#endif

#ifdef __linux__
ssize_t ReceiveIntoPipe(int socket, Pipe& pipe) {
  const ssize_t n = splice(socket, nullptr, pipe.in(), nullptr, PipePool::kBytes,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (n > 0) pipe.Added(static_cast<size_t>(n));
  return n;
}

int EmptyPipe(int socket, Pipe& pipe) {
  // Like sendfile(2), it cannot be told that a peer that has gone is no signal.
  WithoutSigPipe without_sigpipe;
  while (pipe.size() != 0) {
    const ssize_t n = splice(pipe.out(), nullptr, socket, nullptr, pipe.size(),
                             SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0) {
      pipe.Removed(static_cast<size_t>(n));
      continue;
    }
    if (n == 0 || errno == EAGAIN || errno == ENOBUFS) break;
    if (errno == EINTR) continue;
    const int error = errno;
    if (error == EPIPE) without_sigpipe.TakeSignal();
    return error;
  }
  return 0;
}
#else
ssize_t ReceiveIntoPipe(int, Pipe&) {
  errno = ENOSYS;
  return -1;
}

int EmptyPipe(int, Pipe&) { return ENOSYS; }
#endif

// What one call has sent of a queue of several pieces, or -1 and errno; `offered` becomes what it
// was asked to.
[[gnu::noinline]] ssize_t SendPieces(int fd, const Buffer& queue, size_t& offered) {
  std::array<iovec, kIoVecs> pieces;
  const size_t count = queue.IoVecs(absl::MakeSpan(pieces));
  offered = 0;
  for (size_t i = 0; i < count; ++i) offered += pieces[i].iov_len;
  msghdr message = {};
  message.msg_iov = pieces.data();
  message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
  return SystemSendMessage(fd, &message, kNoSignal);
}

}  // namespace

UniqueFd OpenSocket(const SocketAddress& address, int type) {
  const int family = address.data()->sa_family;
#ifdef SOCK_NONBLOCK
  return UniqueFd(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
#else
  return UniqueFd(MadeNonBlocking(UniqueFd(socket(family, type, 0))));
#endif
}

MonotonicTime SystemNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return MonotonicTime::FromNanoseconds(int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec);
}

absl::StatusOr<UniqueFd> OpenListener(const SocketAddress& address, const ListenOptions& options) {
  if (address.family() == SocketAddress::Family::kNone)
    return absl::InvalidArgumentError("listen: no address is given");
  UniqueFd fd = OpenSocket(address, SOCK_STREAM);
  if (!fd.ok()) {
    // A system without IPv6 still has addresses of its own.
    if (errno == EAFNOSUPPORT && address.family() == SocketAddress::Family::kIpv6 &&
        address.is_any() && !options.ipv6_only)
      return OpenListener(AnyIpv4(address.port()), options);
    return SystemError(errno, "socket", address.ToString());
  }
  if (address.is_ip()) {
    if (!SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1) ||
        (options.reuse_port == ListenOptions::ReusePort::kJoin &&
         !SetOption(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1))) {
      return SystemError(errno, "setsockopt", address.ToString());
    }
    if (address.family() == SocketAddress::Family::kIpv6 &&
        !SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6_only ? 1 : 0)) {
      return SystemError(errno, "setsockopt IPV6_V6ONLY", address.ToString());
    }
  }
  if (absl::Status status = ApplyOptions(fd.get(), address, options.socket); !status.ok())
    return status;
  if (bind(fd.get(), address.data(), address.length()) != 0) {
    const int error = errno;
    const UnixPath found(address);
    const bool stale = error == EADDRINUSE && address.family() == SocketAddress::Family::kUnix &&
                       IsStaleUnixSocket(address);
    if (!stale) return SystemError(error, "bind", address.ToString());
    found.Remove();
    if (bind(fd.get(), address.data(), address.length()) != 0)
      return SystemError(errno, "bind", address.ToString());
  }
  if (address.is_ip() && options.reuse_port == ListenOptions::ReusePort::kFirst &&
      !SetOption(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1)) {
    return SystemError(errno, "setsockopt SO_REUSEPORT", address.ToString());
  }
  if (listen(fd.get(), options.backlog) != 0) {
    const int error = errno;
    UnixPath(LocalAddressOf(fd.get())).Remove();
    return SystemError(error, "listen", address.ToString());
  }
  return fd;
}

UnixPath::UnixPath(const SocketAddress& listener) {
  std::string path = listener.path();
  struct stat info;
  if (path.empty() || path[0] == '@' || lstat(path.c_str(), &info) != 0) return;
  path_ = std::move(path);
  device_ = static_cast<uint64_t>(info.st_dev);
  inode_ = static_cast<uint64_t>(info.st_ino);
}

void UnixPath::Remove() const {
  struct stat info;
  if (exists() && lstat(path_.c_str(), &info) == 0 &&
      static_cast<uint64_t>(info.st_dev) == device_ && static_cast<uint64_t>(info.st_ino) == inode_)
    unlink(path_.c_str());
}

absl::StatusOr<UniqueFd> StartConnect(const SocketAddress& address, const SocketOptions& options) {
  if (address.family() == SocketAddress::Family::kNone)
    return absl::InvalidArgumentError("connect: no address is given");
  UniqueFd fd = OpenSocket(address, SOCK_STREAM);
  if (!fd.ok()) return SystemError(errno, "socket", address.ToString());
  if (absl::Status status = ApplyOptions(fd.get(), address, options); !status.ok()) return status;
  if (connect(fd.get(), address.data(), address.length()) != 0 && errno != EINPROGRESS)
    return SystemError(errno, "connect", address.ToString());
  return fd;
}

int SendQueue(int fd, Buffer& queue, const Block& lent) {
  while (!queue.empty()) {
    const absl::Span<const uint8_t> front = queue.front();
    size_t offered = front.size();
    ssize_t n;
    if (ABSL_PREDICT_TRUE(offered == queue.size())) {
      n = SystemSend(fd, front.data(), offered, kNoSignal);
    } else {
      n = SendPieces(fd, queue, offered);
    }
    if (ABSL_PREDICT_FALSE(n < 0)) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != ENOBUFS) return errno;
      n = 0;
    }
    queue.Drain(static_cast<size_t>(n));
    if (static_cast<size_t>(n) < offered) {
      queue.OwnFrom(lent);
      break;
    }
  }
  return 0;
}

Poller::FileSent SendFilePart(int socket, int file, uint64_t offset, size_t length) {
  length = std::min(length, kFileBytesPerTurn);
#ifdef __linux__
  const ssize_t n = SendFileQuietly(socket, file, offset, length);
  if (ABSL_PREDICT_TRUE(n > 0)) return {.bytes = static_cast<size_t>(n)};
  if (n < 0 && WouldBlock(errno)) return {};
  // What a file system cannot do by itself, and a file without more bytes, reading finds out.
  if (n < 0 && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return {.error = errno};
#endif
  return SendByReading(socket, file, offset, length);
}

PipePtr ReceivePipe(int socket, PipePool& pool, int& error) {
  error = 0;
  PipePtr pipe = pool.Take();
  if (pipe == nullptr) return nullptr;
  const ssize_t n = ReceiveIntoPipe(socket, *pipe);
  if (n > 0) return pipe;
  if (n == 0 || errno == EAGAIN) return nullptr;
  if (Poller::RefusesPipes(errno)) {
    pool.RefuseAfter(errno);
  } else {
    error = errno;
  }
  return nullptr;
}

int SendFromPipe(int socket, PipePool& pool, Pipe& pipe) {
  const int error = EmptyPipe(socket, pipe);
  if (Poller::RefusesPipes(error)) pool.RefuseAfter(error);
  return error;
}

AcceptLoop::AcceptLoop(int stand_in) : stand_in_(stand_in), reserve_(OpenReserve()) {}

AcceptLoop::Shortage AcceptLoop::Run(
    int listener, bool inherit_buffer_sizes,
    absl::FunctionRef<bool(int fd, const SocketAddress& peer)> accept) {
  if (ABSL_PREDICT_FALSE(!reserve_.ok())) reserve_ = OpenReserve();  // it was lost to somebody
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    sockaddr* const peer = reinterpret_cast<sockaddr*>(&storage);
    const int fd = AcceptNonBlocking(listener, peer, &length);
    if (fd >= 0) {
      if (ABSL_PREDICT_FALSE(inherit_buffer_sizes)) InheritBufferSizes(listener, fd);
      if (!accept(fd, SocketAddress::FromSockaddr(peer, length))) return {};
      continue;
    }
    if (errno == EAGAIN) return {};
    if (IsExhaustion(errno)) {
      const int error = errno;
      return {error, Shed(listener)};
    }
    // What remains (ECONNABORTED, EPROTO, ...) concerns only the connection that was to be
    // accepted: accept(2), "Error handling".
  }
  return {};
}

// Accepts and closes what waits, as far as the turn's budget goes.
int AcceptLoop::Shed(int listener) {
  int shed = 0;
  while (shed < kAcceptsPerTurn) {
    reserve_ = UniqueFd();
    UniqueFd fd(AcceptNonBlocking(listener, nullptr, nullptr));
    if (!fd.ok()) break;
    ++shed;
    // Closes the connection and keeps its descriptor, in one step: were it free for a moment,
    // another thread could take it, and leave this one without a reserve.
    if (!ReplaceFd(fd.get(), stand_in_)) break;
    reserve_ = std::move(fd);
  }
  if (!reserve_.ok()) reserve_ = OpenReserve();
  return shed;
}

SocketAddress LocalAddressOf(int fd) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return SocketAddress();
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), length);
}

size_t UnacknowledgedBytesOf(int fd) {
  int bytes = 0;
#if defined(__linux__)
  if (ioctl(fd, SIOCOUTQ, &bytes) != 0) return 0;
#elif defined(SO_NWRITE)  // macOS
  socklen_t length = sizeof(bytes);
  if (getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &length) != 0) return 0;
#elif defined(FIONWRITE)  // the BSDs
  if (ioctl(fd, FIONWRITE, &bytes) != 0) return 0;
#endif
  return static_cast<size_t>(std::max(bytes, 0));
}

int PendingError(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

void ResetOnClose(int fd) {
  const linger at_once = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

}  // namespace sluice::internal
