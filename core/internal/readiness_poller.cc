#include "sluice/core/internal/readiness_poller.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/status/statusor.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

// A storm of new connections does not hold up the established ones for longer than this many
// accepts a turn.
constexpr int kAcceptsPerTurn = 64;
constexpr size_t kIoVecs = 64;

UniqueFd OpenReserve() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

ReadinessPoller::ReadinessPoller(UniqueFd engine)
    : engine_(std::move(engine)),
      reserve_(OpenReserve()),
      receive_block_(Block::NewExact(kReceiveBytes)) {
  set_receive_block(*receive_block_);
}

MonotonicTime ReadinessPoller::Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return MonotonicTime::FromNanoseconds(int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec);
}

void ReadinessPoller::AddUnwatched(Socket& socket, int error) {
  const bool known = std::any_of(unwatched_.begin(), unwatched_.end(),
                                 [&](const auto& entry) { return entry.first == &socket; });
  if (!known) unwatched_.push_back({&socket, error});
}

void ReadinessPoller::ReportUnwatched() {
  while (!unwatched_.empty()) {
    const auto [socket, error] = unwatched_.back();
    unwatched_.pop_back();
    const bool connecting = (flags(*socket) & kConnecting) != 0;
    flags(*socket) &= ~kConnecting;
    connecting ? socket->OnConnect(error) : socket->OnError(error);
  }
}

// Listening.

absl::Status ReadinessPoller::Listen(Acceptor& acceptor, const SocketAddress& address,
                                     const ListenOptions& options) {
  absl::StatusOr<UniqueFd> fd = OpenListener(address, options);
  if (!fd.ok()) return fd.status();
  const bool sets_buffer_sizes = !address.is_ip() && (options.socket.send_buffer_bytes != 0 ||
                                                      options.socket.receive_buffer_bytes != 0);
  return StartAccepting(acceptor, *std::move(fd), sets_buffer_sizes ? kSetsBufferSizes : 0);
}

absl::Status ReadinessPoller::ListenShared(Acceptor& acceptor, const Acceptor& other) {
  UniqueFd fd(fcntl(handle(other), F_DUPFD_CLOEXEC, 0));
  if (!fd.ok()) return SystemError(errno, "dup", LocalAddress(other).ToString());
  return StartAccepting(acceptor, std::move(fd), flags(other) & kSetsBufferSizes);
}

absl::Status ReadinessPoller::StartAccepting(Acceptor& acceptor, UniqueFd fd, uint32_t bits) {
  handle(acceptor) = fd.get();
  if (absl::Status status = WatchAcceptor(acceptor, AcceptorWatch::kAdd); !status.ok()) {
    handle(acceptor) = -1;
    return status;
  }
  flags(acceptor) = bits;
  fd.Release();
  return absl::OkStatus();
}

void ReadinessPoller::PauseAccepting(Acceptor& acceptor) {
  flags(acceptor) |= kPaused;
  WatchAcceptor(acceptor, AcceptorWatch::kPause).IgnoreError();
}

void ReadinessPoller::ResumeAccepting(Acceptor& acceptor) {
  flags(acceptor) &= ~kPaused;
  WatchAcceptor(acceptor, AcceptorWatch::kResume).IgnoreError();
}

void ReadinessPoller::Close(Acceptor& acceptor) {
  if (handle(acceptor) < 0) return;
  if (current_ == &acceptor) current_ = nullptr;
  WatchAcceptor(acceptor, AcceptorWatch::kRemove).IgnoreError();
  close(handle(acceptor));
  handle(acceptor) = -1;
  flags(acceptor) = 0;
}

SocketAddress ReadinessPoller::LocalAddress(const Acceptor& acceptor) const {
  return LocalAddressOf(handle(acceptor));
}

void ReadinessPoller::HandleAcceptor(Acceptor& acceptor) {
  current_ = &acceptor;
  if (ABSL_PREDICT_FALSE(!reserve_.ok())) reserve_ = OpenReserve();  // it was lost to somebody
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    const int fd = AcceptNonBlocking(handle(acceptor), reinterpret_cast<sockaddr*>(&peer), &length);
    if (fd >= 0) {
      if (ABSL_PREDICT_FALSE((flags(acceptor) & kSetsBufferSizes) != 0))
        InheritBufferSizes(handle(acceptor), fd);
      acceptor.OnAccept(Accepted(*this, fd), SocketAddress::FromSockaddr(
                                                 reinterpret_cast<const sockaddr*>(&peer), length));
      if (current_ != &acceptor || (flags(acceptor) & kPaused) != 0) return;
      continue;
    }
    if (errno == EAGAIN) return;
    if (IsExhaustion(errno)) {
      const int error = errno;
      return acceptor.OnAcceptError(error, Shed(handle(acceptor)));
    }
    // What remains (ECONNABORTED, EPROTO, ...) concerns only the connection that was to be
    // accepted: accept(2), "Error handling".
  }
}

// Accepts and closes what waits, as far as the turn's budget goes, so that peers are told rather
// than left hanging.
int ReadinessPoller::Shed(int listener) {
  int shed = 0;
  while (shed < kAcceptsPerTurn) {
    reserve_ = UniqueFd();
    UniqueFd fd(AcceptNonBlocking(listener, nullptr, nullptr));
    if (!fd.ok()) break;
    ++shed;
    // Closes the connection and keeps its descriptor, in one step: were it free for a moment,
    // another thread could take it, and leave this one without a reserve.
    if (!ReplaceFd(fd.get(), engine_.get())) break;
    reserve_ = std::move(fd);
  }
  if (!reserve_.ok()) reserve_ = OpenReserve();
  return shed;
}

void ReadinessPoller::CloseAccepted(int32_t fd) { close(fd); }

// Connecting, and what follows.

absl::Status ReadinessPoller::Connect(Socket& socket, const SocketAddress& address,
                                      const SocketOptions& options) {
  absl::StatusOr<UniqueFd> fd = OpenStream(address, options);
  if (!fd.ok()) return fd.status();
  // A connection made at once (Unix sockets) is writable at once, so that its outcome, too, comes
  // as an event.
  if (connect(fd->get(), address.data(), address.length()) != 0 && errno != EINPROGRESS) {
    return SystemError(errno, "connect", address.ToString());
  }
  handle(socket) = fd->Release();
  flags(socket) |= kConnecting;
  UpdateInterest(socket);
  return absl::OkStatus();
}

void ReadinessPoller::HandleConnect(Socket& socket, int error) {
  flags(socket) &= ~kConnecting;
  if (error == 0) UpdateInterest(socket);
  socket.OnConnect(error);
}

void ReadinessPoller::StartReceiving(Socket& socket) {
  if ((flags(socket) & kReceiveEnded) != 0) return;
  flags(socket) |= kReceiving;
  UpdateInterest(socket);
}

void ReadinessPoller::StopReceiving(Socket& socket) {
  flags(socket) &= ~kReceiving;
  UpdateInterest(socket);
}

void ReadinessPoller::HandleReceiveEnd(Socket& socket, int error) {
  if (error != 0) return HandleError(socket, error);
  flags(socket) = (flags(socket) & ~kReceiving) | kReceiveEnded;
  UpdateInterest(socket);  // or the end would be reported again and again
  socket.OnReceiveEnd();
}

// The socket is to be closed now. Until it is, it waits for nothing, so that its error is not
// followed by another one, or by an end.
void ReadinessPoller::HandleError(Socket& socket, int error) {
  flags(socket) = (flags(socket) & ~(kReceiving | kSendBlocked)) | kReceiveEnded;
  socket.OnError(error);
}

int ReadinessPoller::Send(Socket& socket, Buffer& queue) {
  while (!queue.empty()) {
    std::array<iovec, kIoVecs> pieces;
    const size_t count = queue.IoVecs(absl::MakeSpan(pieces));
    ssize_t n;
    size_t offered = pieces[0].iov_len;
    if (ABSL_PREDICT_TRUE(count == 1)) {
      n = send(handle(socket), pieces[0].iov_base, pieces[0].iov_len, kNoSignal);
    } else {
      for (size_t i = 1; i < count; ++i) offered += pieces[i].iov_len;
      msghdr message = {};
      message.msg_iov = pieces.data();
      message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
      n = sendmsg(handle(socket), &message, kNoSignal);
    }
    if (ABSL_PREDICT_FALSE(n < 0)) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != ENOBUFS) return errno;
      n = 0;
    }
    queue.Drain(static_cast<size_t>(n));
    if (static_cast<size_t>(n) < offered) {
      flags(socket) |= kSendBlocked;
      queue.OwnFrom(*receive_block_);
      break;
    }
  }
  if ((flags(socket) & kSendBlocked) != 0) UpdateInterest(socket);
  return 0;
}

bool ReadinessPoller::HandleSendReady(Socket& socket) {
  flags(socket) &= ~kSendBlocked;
  socket.OnSendReady(0);
  if (current_ != &socket) return false;
  UpdateInterest(socket);
  return true;
}

void ReadinessPoller::ShutdownSend(Socket& socket) { shutdown(handle(socket), SHUT_WR); }

void ReadinessPoller::Close(Socket& socket, bool abort) {
  if (handle(socket) < 0) return;
  Forget(socket);
  if (current_ == &socket) current_ = nullptr;
  if (abort) ResetOnClose(handle(socket));
  close(handle(socket));
  handle(socket) = -1;
  flags(socket) = 0;
  if (ABSL_PREDICT_FALSE(!unwatched_.empty())) {
    std::erase_if(unwatched_, [&](const auto& entry) { return entry.first == &socket; });
  }
}

SocketAddress ReadinessPoller::LocalAddress(const Socket& socket) const {
  return LocalAddressOf(handle(socket));
}

}  // namespace sluice::internal
