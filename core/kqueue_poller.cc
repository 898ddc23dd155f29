#include "sluice/core/kqueue_poller.h"

#include "sluice/core/internal/kqueue_api.h"

#if SLUICE_HAS_KQUEUE

#include <fcntl.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/base/optimization.h"
#include "sluice/core/internal/readiness_poller.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

using Event = struct kevent;

// Systems differ in the longest time that they take (OpenBSD: 100,000,000 s); a wait may be
// shorter.
constexpr int64_t kLongestWaitSeconds = 86'400;

class KqueuePoller final : public ReadinessPoller {
 public:
  explicit KqueuePoller(UniqueFd queue)
      : ReadinessPoller(std::move(queue), DatagramOps::Calls::kSingle) {}

  absl::Status Init() {
    const Event wake = Change(0, EVFILT_USER, EV_ADD | EV_CLEAR, Tagged(nullptr, Target::kWake));
    if (kevent(engine(), &wake, 1, nullptr, 0, nullptr) != 0)
      return SystemError(errno, "kevent EVFILT_USER", "kqueue");
    return absl::OkStatus();
  }

  absl::string_view name() const override { return "kqueue"; }
  size_t Wait(MonotonicTime deadline) override;
  void Wake() override;

 private:
  // Engine's bits in Socket::flags. A write filter is EV_ONESHOT, so that none is ever taken out.
  static constexpr uint32_t kWatchesIn = 1 << kFirstEngineBit;
  static constexpr uint32_t kWatchesOut = 1 << (kFirstEngineBit + 1);
  // Above them the socket's place in pending_, counted from 1.
  static constexpr int kPlaceShift = kFirstEngineBit + 2;
  static constexpr int kPlaceBits = 9;
  static constexpr uint32_t kPlaceMask = ((1 << kPlaceBits) - 1) << kPlaceShift;
  // Up to the top, the error that an event has told. A system may tell it once, by whichever filter
  // comes first, while there are still bytes to receive or nobody who wants to know.
  static constexpr int kErrorShift = kPlaceShift + kPlaceBits;
  static constexpr uint32_t kErrorMask = ~((1u << kErrorShift) - 1);

  // Each may have two changes.
  static constexpr size_t kMostPending = kEventsPerTurn / 2;
  static_assert(kMostPending <= kPlaceMask >> kPlaceShift);

  static Event Change(uintptr_t ident, int16_t filter, int flags, void* target) {
    Event change;
    EV_SET(&change, ident, filter, static_cast<uint16_t>(flags), 0, 0, target);
    return change;
  }
  static uint32_t WantedWatches(Socket& socket) {
    const uint32_t bits = flags(socket);
    return ((bits & kReceiving) != 0 ? kWatchesIn : 0) |
           ((bits & (kSendBlocked | kConnecting)) != 0 ? kWatchesOut : 0);
  }

  absl::Status WatchAcceptor(Acceptor& acceptor, AcceptorWatch watch) override;
  void UpdateInterest(Socket& socket) override;
  void Forget(Socket& socket) override;

  void ForgetTarget(void* target);
  int TakePending();
  void ApplyPending();
  void HandleFailedChange(const Event& event);
  void HandleSocket(Socket& socket, const Event& event);
  void HandleDatagramSocket(Socket& socket, const Event& event);

  // Sockets whose filters are to change with the next wait; null where one was closed since.
  std::array<Socket*, kMostPending> pending_;
  uint32_t pending_count_ = 0;
  std::array<Event, kEventsPerTurn> changes_;

  // The events of the turn under way: [next_, count_) are still to be handled. Closing a socket
  // takes its events out.
  std::array<Event, kEventsPerTurn> events_;
  int next_ = 0;
  int count_ = 0;
};

// Turns what is pending into changes. Interest that has come and gone is none.
int KqueuePoller::TakePending() {
  int count = 0;
  for (uint32_t i = 0; i < pending_count_; ++i) {
    Socket* const socket = pending_[i];
    if (socket == nullptr) continue;
    uint32_t& bits = flags(*socket);
    const uint32_t wanted = WantedWatches(*socket);
    const uint32_t differs = (bits ^ wanted) & (kWatchesIn | kWatchesOut);
    bits = (bits & ~(kPlaceMask | kWatchesIn | kWatchesOut)) | wanted |
           (bits & kWatchesOut);  // which ends by itself
    const auto fd = static_cast<uintptr_t>(handle(*socket));
    if ((differs & kWatchesIn) != 0) {
      // Adding a disabled filter again enables it by the manual page, but not by every system.
      const int flag = (wanted & kWatchesIn) != 0 ? EV_ADD | EV_ENABLE : EV_DISABLE;
      changes_[count++] = Change(fd, EVFILT_READ, flag, TargetOf(*socket));
    }
    if ((differs & wanted & kWatchesOut) != 0) {
      changes_[count++] = Change(fd, EVFILT_WRITE, EV_ADD | EV_ONESHOT, TargetOf(*socket));
    }
  }
  pending_count_ = 0;
  return count;
}

// Submits what is pending without looking for events: each change is answered by a receipt.
void KqueuePoller::ApplyPending() {
  const int count = TakePending();
  for (int i = 0; i < count; ++i) changes_[i].flags |= EV_RECEIPT;
  const timespec at_once = {};
  std::array<Event, kEventsPerTurn> receipts;
  const int answered = kevent(engine(), changes_.data(), count, receipts.data(), count, &at_once);
  for (int i = 0; i < answered; ++i) {
    if (receipts[i].data != 0) HandleFailedChange(receipts[i]);
  }
}

void KqueuePoller::HandleFailedChange(const Event& event) {
  auto* const socket = static_cast<Socket*>(Untagged(event.udata));
  flags(*socket) &= ~(event.filter == EVFILT_READ ? kWatchesIn : kWatchesOut);
  AddUnwatched(*socket, static_cast<int>(event.data));
}

size_t KqueuePoller::Wait(MonotonicTime deadline) {
  const int changes = TakePending();
  if (ABSL_PREDICT_FALSE(has_unwatched())) deadline = MonotonicTime();
  timespec timeout = {};
  if (deadline > MonotonicTime() && deadline != MonotonicTime::InfiniteFuture()) {
    const int64_t left = std::max<int64_t>(deadline.nanoseconds() - Now().nanoseconds(), 0);
    timeout.tv_sec = static_cast<time_t>(std::min(left / 1'000'000'000, kLongestWaitSeconds));
    timeout.tv_nsec = static_cast<long>(left % 1'000'000'000);
  }
  count_ = kevent(engine(), changes_.data(), changes, events_.data(), kEventsPerTurn,
                  deadline == MonotonicTime::InfiniteFuture() ? nullptr : &timeout);
  count_ = std::max(count_, 0);  // EINTR, after the changes were made, is an empty turn
  const int count = count_;
  for (next_ = 0; next_ < count_;) {
    const Event event = events_[next_++];
    void* const target = Untagged(event.udata);
    if (target == nullptr) continue;  // a wake, or one that was closed
    if (TargetOf(event.udata) == Target::kAcceptor) {
      HandleAcceptor(*static_cast<Acceptor*>(target));  // accept tells what error there is
    } else if (ABSL_PREDICT_FALSE((event.flags & EV_ERROR) != 0)) {
      HandleFailedChange(event);
    } else if (ABSL_PREDICT_FALSE(TargetOf(event.udata) == Target::kDatagrams)) {
      HandleDatagramSocket(*static_cast<Socket*>(target), event);
    } else {
      HandleSocket(*static_cast<Socket*>(target), event);
    }
  }
  count_ = 0;
  const size_t told = ReportUnwatched();
  set_current(nullptr);
  return static_cast<size_t>(count) + told;
}

void KqueuePoller::Wake() {
  Event trigger;
  EV_SET(&trigger, 0, EVFILT_USER, 0, NOTE_TRIGGER, 0, Tagged(nullptr, Target::kWake));
  const int saved = errno;  // a signal handler may be the caller
  kevent(engine(), &trigger, 1, nullptr, 0, nullptr);
  errno = saved;
}

absl::Status KqueuePoller::WatchAcceptor(Acceptor& acceptor, AcceptorWatch watch) {
  void* const target = Tagged(&acceptor, Target::kAcceptor);
  if (watch == AcceptorWatch::kRemove) {
    ForgetTarget(target);  // the filter goes with its descriptor
    return absl::OkStatus();
  }
  const int flag = watch == AcceptorWatch::kAdd      ? EV_ADD
                   : watch == AcceptorWatch::kResume ? EV_ENABLE
                                                     : EV_DISABLE;
  const Event change = Change(static_cast<uintptr_t>(handle(acceptor)), EVFILT_READ, flag, target);
  if (kevent(engine(), &change, 1, nullptr, 0, nullptr) != 0)
    return SystemError(errno, "kevent", "listener");
  return absl::OkStatus();
}

void KqueuePoller::UpdateInterest(Socket& socket) {
  if ((flags(socket) & (kWatchesIn | kWatchesOut)) == WantedWatches(socket) ||
      (flags(socket) & kPlaceMask) != 0)
    return;
  if (pending_count_ == kMostPending) ApplyPending();
  pending_[pending_count_++] = &socket;
  flags(socket) |= pending_count_ << kPlaceShift;
}

void KqueuePoller::Forget(Socket& socket) {
  if (const uint32_t place = (flags(socket) & kPlaceMask) >> kPlaceShift; place != 0)
    pending_[place - 1] = nullptr;
  ForgetTarget(TargetOf(socket));
}

// Takes out what is still to be handled of this turn for a target.
void KqueuePoller::ForgetTarget(void* target) {
  for (int i = next_; i < count_; ++i) {
    if (events_[i].udata == target) events_[i].udata = nullptr;
  }
}

void KqueuePoller::HandleSocket(Socket& socket, const Event& event) {
  set_current(&socket);
  if (ABSL_PREDICT_FALSE((event.flags & EV_EOF) != 0 && event.fflags != 0))
    flags(socket) = (flags(socket) & ~kErrorMask) | event.fflags << kErrorShift;
  const int error = static_cast<int>(flags(socket) >> kErrorShift);
  if (ABSL_PREDICT_TRUE(event.filter == EVFILT_READ)) {
    if ((flags(socket) & kReceiving) != 0) return HandleReceive(socket, error);
    return UpdateInterest(socket);
  }
  flags(socket) &= ~kWatchesOut;
  if ((flags(socket) & kConnecting) != 0)
    return HandleConnect(socket, error != 0 ? error : PendingError(handle(socket)));
  if ((flags(socket) & kSendBlocked) == 0) return;
  if (error != 0) return HandleError(socket, error);
  HandleSendReady(socket);
}

// An error is no end here; a system that keeps no list of errors has told this one only now.
void KqueuePoller::HandleDatagramSocket(Socket& socket, const Event& event) {
  set_current(&socket);
  if ((event.flags & EV_EOF) != 0 && !HandleDatagramErrors(socket, static_cast<int>(event.fflags)))
    return;
  if (event.filter == EVFILT_READ) {
    if ((flags(socket) & kReceiving) == 0) UpdateInterest(socket);
    return HandleDatagrams(socket);
  }
  flags(socket) &= ~kWatchesOut;
  if ((flags(socket) & kSendBlocked) != 0) HandleSendReady(socket);
}

absl::StatusOr<std::unique_ptr<Poller>> Make() {
  UniqueFd queue(kqueue());
  if (!queue.ok()) return SystemError(errno, "kqueue", "kqueue");
  fcntl(queue.get(), F_SETFD, FD_CLOEXEC);
  auto poller = std::make_unique<KqueuePoller>(std::move(queue));
  if (absl::Status status = poller->Init(); !status.ok()) return status;
  return poller;
}

}  // namespace

#ifdef SLUICE_KQUEUE_ON_SHIM
absl::StatusOr<std::unique_ptr<Poller>> MakeKqueuePollerOnShim() { return Make(); }
#else
absl::StatusOr<std::unique_ptr<Poller>> MakeKqueuePoller() { return Make(); }
#endif

}  // namespace sluice::internal

#else

namespace sluice::internal {

absl::StatusOr<std::unique_ptr<Poller>> MakeKqueuePoller() {
  return absl::UnimplementedError(
      "poller kqueue: this system has no kqueue; macOS and the BSDs have it");
}

}  // namespace sluice::internal

#endif  // SLUICE_HAS_KQUEUE
