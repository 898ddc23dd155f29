#include "sluice/core/epoll_poller.h"

#ifdef __linux__

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <utility>

#include "absl/base/optimization.h"
#include "sluice/core/internal/readiness_poller.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

class EpollPoller final : public ReadinessPoller {
 public:
  EpollPoller(UniqueFd epoll, UniqueFd wake)
      : ReadinessPoller(std::move(epoll), DatagramOps::Calls::kBatched), wake_(std::move(wake)) {}

  absl::Status Init() {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.ptr = Tagged(nullptr, Target::kWake);
    if (epoll_ctl(engine(), EPOLL_CTL_ADD, wake_.get(), &event) != 0)
      return SystemError(errno, "epoll_ctl", "epoll");
    return absl::OkStatus();
  }

  absl::string_view name() const override { return "epoll"; }
  size_t Wait(MonotonicTime deadline) override;
  void Wake() override;

 private:
  // Engine's bits in Socket::flags.
  static constexpr uint32_t kRegistered = 1 << kFirstEngineBit;        // known to epoll,
  static constexpr uint32_t kWatchesIn = 1 << (kFirstEngineBit + 1);   // with EPOLLIN,
  static constexpr uint32_t kWatchesOut = 1 << (kFirstEngineBit + 2);  // with EPOLLOUT

  absl::Status WatchAcceptor(Acceptor& acceptor, AcceptorWatch watch) override;
  void UpdateInterest(Socket& socket) override;
  void Forget(Socket& socket) override { ForgetTarget(TargetOf(socket)); }
  void ForgetTarget(void* target);
  int WaitForEvents(MonotonicTime deadline);

  void HandleSocket(Socket& socket, uint32_t events);
  void HandleHangUp(Socket& socket, uint32_t events);
  void HandleDatagramSocket(Socket& socket, uint32_t events);

  UniqueFd wake_;

  // The events of the turn under way: [next_, count_) are still to be handled. Closing a socket
  // takes its events out.
  std::array<epoll_event, kEventsPerTurn> events_;
  int next_ = 0;
  int count_ = 0;
  bool has_pwait2_ = true;
};

int EpollPoller::WaitForEvents(MonotonicTime deadline) {
  if (deadline == MonotonicTime::InfiniteFuture())
    return epoll_wait(engine(), events_.data(), kEventsPerTurn, -1);
  const MonotonicTime now = deadline <= MonotonicTime() ? MonotonicTime() : Now();
  if (deadline <= now) return epoll_wait(engine(), events_.data(), kEventsPerTurn, 0);
  const int64_t left = deadline.nanoseconds() - now.nanoseconds();
#ifdef SYS_epoll_pwait2
  if (has_pwait2_) {
    const timespec timeout = {static_cast<time_t>(left / 1'000'000'000),
                              static_cast<long>(left % 1'000'000'000)};
    const long count =
        syscall(SYS_epoll_pwait2, engine(), events_.data(), kEventsPerTurn, &timeout, nullptr, 0);
    if (count >= 0 || errno == EINTR) return static_cast<int>(count);
    // ENOSYS, or a filter of system calls that does not know this one and says EPERM.
    has_pwait2_ = false;
  }
#endif
  const int64_t milliseconds = std::min<int64_t>((left + 999'999) / 1'000'000, INT_MAX);
  return epoll_wait(engine(), events_.data(), kEventsPerTurn, static_cast<int>(milliseconds));
}

size_t EpollPoller::Wait(MonotonicTime deadline) {
  if (ABSL_PREDICT_FALSE(has_unwatched())) deadline = MonotonicTime();
  count_ = std::max(WaitForEvents(deadline), 0);  // EINTR is an empty turn
  const int count = count_;
  for (next_ = 0; next_ < count_;) {
    const epoll_event event = events_[next_++];
    void* const target = Untagged(event.data.ptr);
    switch (TargetOf(event.data.ptr)) {
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
      case Target::kDatagrams:
        HandleDatagramSocket(*static_cast<Socket*>(target), event.events);
        break;
    }
  }
  count_ = 0;
  const size_t told = ReportUnwatched();
  set_current(nullptr);
  return static_cast<size_t>(count) + told;
}

void EpollPoller::Wake() {
  const uint64_t one = 1;
  const int saved = errno;  // a signal handler may be the caller
  [[maybe_unused]] const ssize_t n = write(wake_.get(), &one, sizeof(one));
  errno = saved;
}

absl::Status EpollPoller::WatchAcceptor(Acceptor& acceptor, AcceptorWatch watch) {
  epoll_event event = {};
  event.events = watch == AcceptorWatch::kPause ? 0 : uint32_t{EPOLLIN};
  event.data.ptr = Tagged(&acceptor, Target::kAcceptor);
  // A shared listener's descriptor is a duplicate, whose watch would outlive it were it not
  // removed.
  const int operation = watch == AcceptorWatch::kAdd      ? EPOLL_CTL_ADD
                        : watch == AcceptorWatch::kRemove ? EPOLL_CTL_DEL
                                                          : EPOLL_CTL_MOD;
  if (watch == AcceptorWatch::kRemove) ForgetTarget(event.data.ptr);
  if (epoll_ctl(engine(), operation, handle(acceptor), &event) != 0)
    return SystemError(errno, "epoll_ctl", "listener");
  return absl::OkStatus();
}

// A watch for nothing still reports errors.
void EpollPoller::UpdateInterest(Socket& socket) {
  uint32_t& bits = flags(socket);
  const uint32_t watches = ((bits & kReceiving) != 0 ? kWatchesIn : 0) |
                           ((bits & (kSendBlocked | kConnecting)) != 0 ? kWatchesOut : 0) |
                           kRegistered;
  if ((bits & (kWatchesIn | kWatchesOut | kRegistered)) == watches) return;
  epoll_event event = {};
  event.events = ((watches & kWatchesIn) != 0 ? uint32_t{EPOLLIN} : 0) |
                 ((watches & kWatchesOut) != 0 ? uint32_t{EPOLLOUT} : 0);
  event.data.ptr = TargetOf(socket);
  if (epoll_ctl(engine(), (bits & kRegistered) != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, handle(socket),
                &event) != 0) {
    AddUnwatched(socket, errno);
    return;
  }
  bits = (bits & ~(kWatchesIn | kWatchesOut)) | watches;
}

void EpollPoller::HandleSocket(Socket& socket, uint32_t events) {
  set_current(&socket);
  if (ABSL_PREDICT_FALSE((flags(socket) & kConnecting) != 0))
    return HandleConnect(socket, PendingError(handle(socket)));
  if (ABSL_PREDICT_FALSE((events & EPOLLOUT) != 0 && (flags(socket) & kSendBlocked) != 0)) {
    if (!HandleSendReady(socket)) return;
  }
  if ((flags(socket) & kReceiving) != 0) {
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) HandleReceive(socket);
  } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    HandleHangUp(socket, events);
  }
}

// The socket is not being received from, and something has happened to it.
void EpollPoller::HandleHangUp(Socket& socket, uint32_t events) {
  const int error = (events & EPOLLERR) != 0 ? PendingError(handle(socket)) : 0;
  if (error != 0) return HandleError(socket, error);
  // Both halves have ended, and nobody wants to read that yet. epoll would report it every turn.
  epoll_ctl(engine(), EPOLL_CTL_DEL, handle(socket), nullptr);
  flags(socket) &= ~(kRegistered | kWatchesIn | kWatchesOut);
}

void EpollPoller::HandleDatagramSocket(Socket& socket, uint32_t events) {
  set_current(&socket);
  if ((events & EPOLLERR) != 0 && !HandleDatagramErrors(socket)) return;
  if ((events & EPOLLOUT) != 0 && (flags(socket) & kSendBlocked) != 0) {
    if (!HandleSendReady(socket)) return;
  }
  if ((events & EPOLLIN) != 0) HandleDatagrams(socket);
}

// Takes out what is still to be handled of this turn for a target.
void EpollPoller::ForgetTarget(void* target) {
  for (int i = next_; i < count_; ++i) {
    if (events_[i].data.ptr == target) {
      events_[i].data.ptr = Tagged(nullptr, Target::kSocket);
      return;
    }
  }
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

#else

namespace sluice::internal {

absl::StatusOr<std::unique_ptr<Poller>> MakeEpollPoller() {
  return absl::UnimplementedError("poller epoll: only Linux has epoll");
}

}  // namespace sluice::internal

#endif  // __linux__
