#include "sluice/core/epoll_poller.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

// Large enough that a burst of sixteen 16 KiB messages is one system call, small enough to stay in
// the second-level cache.
constexpr size_t kReceiveBytes = 256 * 1024;
constexpr size_t kEventsPerTurn = 512;
// A storm of new connections does not hold up the established ones for longer than this many
// accepts a turn.
constexpr int kAcceptsPerTurn = 64;
constexpr size_t kIoVecs = 64;

// Engine's bits in Socket::flags. The low one is Poller::kHasReceiveSpace.
constexpr uint32_t kReceiving = 1 << 1;
constexpr uint32_t kSendBlocked = 1 << 2;
constexpr uint32_t kConnecting = 1 << 3;
constexpr uint32_t kRegistered = 1 << 4;  // known to epoll,
constexpr uint32_t kWatchesIn = 1 << 5;   // with EPOLLIN,
constexpr uint32_t kWatchesOut = 1 << 6;  // with EPOLLOUT
constexpr uint32_t kReceiveEnded = 1 << 7;

// Engine's bits in Acceptor::flags.
constexpr uint32_t kPaused = 1;
constexpr uint32_t kSetsBufferSizes = 2;

// What an epoll event's pointer points to, in its low bits.
enum class Target : uintptr_t { kSocket = 0, kAcceptor = 1, kWake = 2 };
constexpr uintptr_t kTargetMask = 3;

void* Tagged(void* pointer, Target target) {
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(pointer) |
                                 static_cast<uintptr_t>(target));
}

class EpollPoller final : public Poller {
 public:
  EpollPoller(UniqueFd epoll, UniqueFd wake)
      : epoll_(std::move(epoll)),
        wake_(std::move(wake)),
        reserve_(OpenReserve()),
        receive_block_(Block::NewExact(kReceiveBytes)) {
    set_receive_block(*receive_block_);
  }

  absl::Status Init() {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.ptr = Tagged(nullptr, Target::kWake);
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0)
      return SystemError(errno, "epoll_ctl", "epoll");
    return absl::OkStatus();
  }

  absl::string_view name() const override { return "epoll"; }

  MonotonicTime Now() override {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return MonotonicTime::FromNanoseconds(int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec);
  }

  size_t Wait(MonotonicTime deadline) override;
  void Wake() override;

  absl::Status Listen(Acceptor& acceptor, const SocketAddress& address,
                      const ListenOptions& options) override;
  absl::Status ListenShared(Acceptor& acceptor, const Acceptor& other) override;
  void PauseAccepting(Acceptor& acceptor) override {
    flags(acceptor) |= kPaused;
    WatchAcceptor(acceptor, EPOLL_CTL_MOD, 0).IgnoreError();
  }
  void ResumeAccepting(Acceptor& acceptor) override {
    flags(acceptor) &= ~kPaused;
    WatchAcceptor(acceptor, EPOLL_CTL_MOD, EPOLLIN).IgnoreError();
  }
  void Close(Acceptor& acceptor) override;
  SocketAddress LocalAddress(const Acceptor& acceptor) const override {
    return LocalAddressOf(handle(acceptor));
  }

  absl::Status Connect(Socket& socket, const SocketAddress& address,
                       const SocketOptions& options) override;
  void Attach(Socket& socket, Accepted accepted) override { handle(socket) = accepted.Release(); }
  void StartReceiving(Socket& socket) override;
  void StopReceiving(Socket& socket) override;
  int Send(Socket& socket, Buffer& queue) override;
  void ShutdownSend(Socket& socket) override { shutdown(handle(socket), SHUT_WR); }
  void Close(Socket& socket, bool abort) override;
  SocketAddress LocalAddress(const Socket& socket) const override {
    return LocalAddressOf(handle(socket));
  }

 protected:
  void CloseAccepted(int32_t fd) override { close(fd); }

 private:
  static UniqueFd OpenReserve() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

  absl::Status WatchAcceptor(Acceptor& acceptor, int operation, uint32_t events);
  void UpdateInterest(Socket& socket);
  void Forget(void* target);
  void ReportUnwatched();
  int WaitForEvents(MonotonicTime deadline);

  void HandleSocket(Socket& socket, uint32_t events);
  void HandleConnect(Socket& socket);
  void HandleReceive(Socket& socket);
  void HandleHangUp(Socket& socket, uint32_t events);
  void HandleAcceptor(Acceptor& acceptor);
  int Shed(int listener);

  UniqueFd epoll_;
  UniqueFd wake_;
  UniqueFd
      reserve_;  // given up for a moment to shed connections when there are no other descriptors
  BlockPtr receive_block_;

  // The events of the turn under way: [next_, count_) are still to be handled. Closing a socket
  // takes its events out.
  std::array<epoll_event, kEventsPerTurn> events_;
  int next_ = 0;
  int count_ = 0;
  void* current_ = nullptr;  // the target whose event is being handled; null once it is closed
  bool has_pwait2_ = true;

  // Sockets that epoll would not watch (ENOSPC, ENOMEM), and why; told so in the next turn.
  std::vector<std::pair<Socket*, int>> unwatched_;
};

int EpollPoller::WaitForEvents(MonotonicTime deadline) {
  if (deadline == MonotonicTime::InfiniteFuture())
    return epoll_wait(epoll_.get(), events_.data(), kEventsPerTurn, -1);
  const MonotonicTime now = deadline <= MonotonicTime() ? MonotonicTime() : Now();
  if (deadline <= now) return epoll_wait(epoll_.get(), events_.data(), kEventsPerTurn, 0);
  const int64_t left = deadline.nanoseconds() - now.nanoseconds();
#ifdef SYS_epoll_pwait2
  if (has_pwait2_) {
    const timespec timeout = {static_cast<time_t>(left / 1'000'000'000),
                              static_cast<long>(left % 1'000'000'000)};
    const long count = syscall(SYS_epoll_pwait2, epoll_.get(), events_.data(), kEventsPerTurn,
                               &timeout, nullptr, 0);
    if (count >= 0 || errno == EINTR) return static_cast<int>(count);
    // ENOSYS, or a filter of system calls that does not know this one and says EPERM.
    has_pwait2_ = false;
  }
#endif
  const int64_t milliseconds = std::min<int64_t>((left + 999'999) / 1'000'000, INT_MAX);
  return epoll_wait(epoll_.get(), events_.data(), kEventsPerTurn, static_cast<int>(milliseconds));
}

size_t EpollPoller::Wait(MonotonicTime deadline) {
  if (ABSL_PREDICT_FALSE(!unwatched_.empty())) deadline = MonotonicTime();
  count_ = std::max(WaitForEvents(deadline), 0);  // EINTR is an empty turn
  const int count = count_;
  for (next_ = 0; next_ < count_;) {
    const epoll_event event = events_[next_++];
    const auto tagged = reinterpret_cast<uintptr_t>(event.data.ptr);
    void* const target = reinterpret_cast<void*>(tagged & ~kTargetMask);
    switch (static_cast<Target>(tagged & kTargetMask)) {
      case Target::kSocket:
        if (target != nullptr) HandleSocket(*static_cast<Socket*>(target), event.events);
        break;
      case Target::kAcceptor:
        if (target != nullptr) HandleAcceptor(*static_cast<Acceptor*>(target));
        break;
      case Target::kWake: {
        uint64_t value;
        [[maybe_unused]] const ssize_t n = read(wake_.get(), &value, sizeof(value));
        break;
      }
    }
  }
  count_ = 0;
  ReportUnwatched();
  current_ = nullptr;
  return static_cast<size_t>(count);
}

void EpollPoller::ReportUnwatched() {
  while (!unwatched_.empty()) {
    const auto [socket, error] = unwatched_.back();
    unwatched_.pop_back();
    const bool connecting = (flags(*socket) & kConnecting) != 0;
    flags(*socket) &= ~kConnecting;
    connecting ? socket->OnConnect(error) : socket->OnError(error);
  }
}

void EpollPoller::Wake() {
  const uint64_t one = 1;
  const int saved = errno;  // a signal handler may be the caller
  [[maybe_unused]] const ssize_t n = write(wake_.get(), &one, sizeof(one));
  errno = saved;
}

absl::Status EpollPoller::WatchAcceptor(Acceptor& acceptor, int operation, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.ptr = Tagged(&acceptor, Target::kAcceptor);
  if (epoll_ctl(epoll_.get(), operation, handle(acceptor), &event) != 0)
    return SystemError(errno, "epoll_ctl", "listener");
  return absl::OkStatus();
}

absl::Status EpollPoller::Listen(Acceptor& acceptor, const SocketAddress& address,
                                 const ListenOptions& options) {
  absl::StatusOr<UniqueFd> fd = OpenListener(address, options);
  if (!fd.ok()) return fd.status();
  handle(acceptor) = fd->get();
  absl::Status status = WatchAcceptor(acceptor, EPOLL_CTL_ADD, EPOLLIN);
  if (!status.ok()) {
    handle(acceptor) = -1;
    return status;
  }
  if (!address.is_ip() &&
      (options.socket.send_buffer_bytes != 0 || options.socket.receive_buffer_bytes != 0)) {
    flags(acceptor) = kSetsBufferSizes;
  }
  fd->Release();
  return absl::OkStatus();
}

absl::Status EpollPoller::ListenShared(Acceptor& acceptor, const Acceptor& other) {
  UniqueFd fd(fcntl(handle(other), F_DUPFD_CLOEXEC, 0));
  if (!fd.ok()) return SystemError(errno, "dup", LocalAddress(other).ToString());
  handle(acceptor) = fd.get();
  absl::Status status = WatchAcceptor(acceptor, EPOLL_CTL_ADD, EPOLLIN);
  if (!status.ok()) {
    handle(acceptor) = -1;
    return status;
  }
  flags(acceptor) = flags(other) & kSetsBufferSizes;
  fd.Release();
  return absl::OkStatus();
}

void EpollPoller::Close(Acceptor& acceptor) {
  if (handle(acceptor) < 0) return;
  Forget(Tagged(&acceptor, Target::kAcceptor));
  if (current_ == &acceptor) current_ = nullptr;
  // A shared listener's descriptor is a duplicate, whose watch would outlive it.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, handle(acceptor), nullptr);
  close(handle(acceptor));
  handle(acceptor) = -1;
  flags(acceptor) = 0;
}

absl::Status EpollPoller::Connect(Socket& socket, const SocketAddress& address,
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

void EpollPoller::StartReceiving(Socket& socket) {
  if ((flags(socket) & kReceiveEnded) != 0) return;
  flags(socket) |= kReceiving;
  UpdateInterest(socket);
}

void EpollPoller::StopReceiving(Socket& socket) {
  flags(socket) &= ~kReceiving;
  UpdateInterest(socket);
}

// Brings epoll's watch in line with what the socket waits for. A watch for nothing still reports
// errors.
void EpollPoller::UpdateInterest(Socket& socket) {
  uint32_t& bits = flags(socket);
  const uint32_t watches = ((bits & kReceiving) != 0 ? kWatchesIn : 0) |
                           ((bits & (kSendBlocked | kConnecting)) != 0 ? kWatchesOut : 0) |
                           kRegistered;
  if ((bits & (kWatchesIn | kWatchesOut | kRegistered)) == watches) return;
  epoll_event event = {};
  event.events = ((watches & kWatchesIn) != 0 ? uint32_t{EPOLLIN} : 0) |
                 ((watches & kWatchesOut) != 0 ? uint32_t{EPOLLOUT} : 0);
  event.data.ptr = &socket;
  if (epoll_ctl(epoll_.get(), (bits & kRegistered) != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
                handle(socket), &event) != 0) {
    unwatched_.push_back({&socket, errno});
    return;
  }
  bits = (bits & ~(kWatchesIn | kWatchesOut)) | watches;
}

void EpollPoller::HandleSocket(Socket& socket, uint32_t events) {
  current_ = &socket;
  if (ABSL_PREDICT_FALSE((flags(socket) & kConnecting) != 0)) return HandleConnect(socket);
  if (ABSL_PREDICT_FALSE((events & EPOLLOUT) != 0 && (flags(socket) & kSendBlocked) != 0)) {
    flags(socket) &= ~kSendBlocked;
    socket.OnSendReady(0);
    if (current_ != &socket) return;
    UpdateInterest(socket);
  }
  if ((flags(socket) & kReceiving) != 0) {
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) HandleReceive(socket);
  } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    HandleHangUp(socket, events);
  }
}

void EpollPoller::HandleConnect(Socket& socket) {
  const int error = PendingError(handle(socket));
  flags(socket) &= ~kConnecting;
  if (error == 0) UpdateInterest(socket);
  socket.OnConnect(error);
}

void EpollPoller::HandleReceive(Socket& socket) {
  absl::Span<uint8_t> space(receive_block_->storage(), kReceiveBytes);
  if (ABSL_PREDICT_FALSE((flags(socket) & kHasReceiveSpace) != 0)) {
    const absl::Span<uint8_t> wanted = socket.ReceiveSpace();
    if (!wanted.empty()) space = wanted;
  }
  const ssize_t n = recv(handle(socket), space.data(), space.size(), 0);
  if (ABSL_PREDICT_TRUE(n > 0)) return socket.OnReceive(space.first(static_cast<size_t>(n)));
  if (n == 0) {
    flags(socket) = (flags(socket) & ~kReceiving) | kReceiveEnded;
    UpdateInterest(socket);  // or the end would be reported again and again
    return socket.OnReceiveEnd();
  }
  if (errno != EAGAIN && errno != EINTR) socket.OnError(errno);
}

// The socket is not being received from, and something has happened to it.
void EpollPoller::HandleHangUp(Socket& socket, uint32_t events) {
  const int error = (events & EPOLLERR) != 0 ? PendingError(handle(socket)) : 0;
  if (error != 0) return socket.OnError(error);
  // Both halves have ended, and nobody wants to read that yet. epoll would report it every turn.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, handle(socket), nullptr);
  flags(socket) &= ~(kRegistered | kWatchesIn | kWatchesOut);
}

int EpollPoller::Send(Socket& socket, Buffer& queue) {
  while (!queue.empty()) {
    std::array<iovec, kIoVecs> pieces;
    const size_t count = queue.IoVecs(absl::MakeSpan(pieces));
    ssize_t n;
    size_t offered = pieces[0].iov_len;
    if (ABSL_PREDICT_TRUE(count == 1)) {
      n = send(handle(socket), pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL);
    } else {
      for (size_t i = 1; i < count; ++i) offered += pieces[i].iov_len;
      msghdr message = {};
      message.msg_iov = pieces.data();
      message.msg_iovlen = count;
      n = sendmsg(handle(socket), &message, MSG_NOSIGNAL);
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

void EpollPoller::Close(Socket& socket, bool abort) {
  if (handle(socket) < 0) return;
  Forget(&socket);
  if (current_ == &socket) current_ = nullptr;
  if (abort) ResetOnClose(handle(socket));
  close(handle(socket));
  handle(socket) = -1;
  flags(socket) = 0;
  if (ABSL_PREDICT_FALSE(!unwatched_.empty())) {
    std::erase_if(unwatched_, [&](const auto& entry) { return entry.first == &socket; });
  }
}

// Takes out what is still to be handled of this turn for a target.
void EpollPoller::Forget(void* target) {
  for (int i = next_; i < count_; ++i) {
    if (events_[i].data.ptr == target) {
      events_[i].data.ptr = Tagged(nullptr, Target::kSocket);
      return;
    }
  }
}

void EpollPoller::HandleAcceptor(Acceptor& acceptor) {
  current_ = &acceptor;
  if (ABSL_PREDICT_FALSE(!reserve_.ok())) reserve_ = OpenReserve();  // it was lost to somebody
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    const int fd = accept4(handle(acceptor), reinterpret_cast<sockaddr*>(&peer), &length,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
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
int EpollPoller::Shed(int listener) {
  int shed = 0;
  while (shed < kAcceptsPerTurn) {
    reserve_ = UniqueFd();
    UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.ok()) break;
    ++shed;
    // Closes the connection and keeps its descriptor, in one step: were it free for a moment,
    // another thread could take it, and leave this one without a reserve.
    if (dup3(epoll_.get(), fd.get(), O_CLOEXEC) < 0) break;
    reserve_ = std::move(fd);
  }
  if (!reserve_.ok()) reserve_ = OpenReserve();
  return shed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Poller>> MakeEpollPoller() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.ok()) return SystemError(errno, "epoll_create1", "epoll");
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.ok()) return SystemError(errno, "eventfd", "epoll");
  auto poller = std::make_unique<EpollPoller>(std::move(epoll), std::move(wake));
  if (absl::Status status = poller->Init(); !status.ok()) return status;
  return poller;
}

}  // namespace sluice::internal
