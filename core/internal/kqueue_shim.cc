#include "sluice/core/internal/kqueue_shim.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace sluice::internal::kqueue_shim {
namespace {

using Event = struct kevent;

// Held while queues are made and freed.
std::mutex making;

// One (ident, filter).
struct Filter {
  bool exists = false;
  bool enabled = false;
  bool oneshot = false;
  void* udata = nullptr;
};

// What a queue knows of a descriptor.
struct Watched {
  Filter read;
  Filter write;
};

int GetOption(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof(value);
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : 0;
}

bool IsListener(int fd) { return GetOption(fd, SOL_SOCKET, SO_ACCEPTCONN) != 0; }

int64_t Backlog(int fd) {
  tcp_info info = {};
  socklen_t length = sizeof(info);
  const bool tcp = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0;
  return tcp ? info.tcpi_unacked : 1;
}

int64_t ReadableBytes(int fd) {
  int bytes = 0;
  ioctl(fd, FIONREAD, &bytes);
  return bytes;
}

int64_t WritableBytes(int fd) {
  int queued = 0;
  ioctl(fd, SIOCOUTQ, &queued);
  return std::max(GetOption(fd, SOL_SOCKET, SO_SNDBUF) - queued, 0);
}

uint32_t EpollEvents(const Watched& watched) {
  uint32_t events = 0;
  if (watched.read.enabled) events |= EPOLLIN | EPOLLRDHUP;
  if (watched.write.enabled) events |= EPOLLOUT;
  // With nothing enabled it stays known to epoll, as the proof that it is not closed, but says at
  // most once that it has hung up.
  return events != 0 ? events : uint32_t{EPOLLET};
}

int64_t Milliseconds(const timespec* timeout) {
  if (timeout == nullptr) return -1;
  return int64_t{timeout->tv_sec} * 1000 + (timeout->tv_nsec + 999'999) / 1'000'000;
}

class Queue {
 public:
  Queue(int epoll, int user) : epoll_(epoll), user_(user) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.fd = user_;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, user_, &event);
  }
  ~Queue() { close(user_); }

  // Whether the descriptor that it was made with is still the same.
  bool alive() const {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.fd = user_;
    return epoll_ctl(epoll_, EPOLL_CTL_MOD, user_, &event) == 0;
  }

  bool Trigger(uintptr_t ident) {
    if (!has_user_.load() || ident != user_ident_) return false;
    const uint64_t one = 1;
    return write(user_, &one, sizeof(one)) == sizeof(one);
  }

  // 0 or errno.
  int Change(const Event& change);
  // The number of events, or -1 and errno.
  int Wait(Event* events, int room, const timespec* timeout);

 private:
  int ChangeUser(const Event& change);
  bool Control(int operation, int fd, const Watched& watched);
  void DropIfClosed(int fd);
  void Rebuild();
  int Harvest(const epoll_event& ready, Event* events, int room);
  void Report(int fd, int16_t filter, bool ended, int error, Event* event);

  const int epoll_;
  const int user_;
  std::atomic<bool> has_user_{false};
  uintptr_t user_ident_ = 0;
  void* user_udata_ = nullptr;
  std::map<int, Watched> watched_;
};

bool Queue::Control(int operation, int fd, const Watched& watched) {
  epoll_event event = {};
  event.events = EpollEvents(watched);
  event.data.fd = fd;
  return epoll_ctl(epoll_, operation, fd, &event) == 0;
}

// epoll knows a file by its descriptor and by itself, so that a descriptor that was closed, or now
// stands for another file, is not known to it.
void Queue::DropIfClosed(int fd) {
  const auto found = watched_.find(fd);
  if (found != watched_.end() && !Control(EPOLL_CTL_MOD, fd, found->second)) watched_.erase(found);
}

int Queue::ChangeUser(const Event& change) {
  if ((change.flags & ~(EV_ADD | EV_CLEAR | EV_RECEIPT)) != 0) return EINVAL;
  if ((change.fflags & ~NOTE_TRIGGER) != 0) return EINVAL;
  if ((change.flags & EV_ADD) != 0) {
    if ((change.flags & EV_CLEAR) == 0) return EINVAL;
    if (has_user_.load() && user_ident_ != change.ident) return EINVAL;
    user_ident_ = change.ident;
    user_udata_ = change.udata;
    has_user_.store(true);
  }
  if (!has_user_.load() || user_ident_ != change.ident) return ENOENT;
  if ((change.fflags & NOTE_TRIGGER) != 0) Trigger(change.ident);
  return 0;
}

int Queue::Change(const Event& change) {
  if (change.filter == EVFILT_USER) return ChangeUser(change);
  if (change.filter != EVFILT_READ && change.filter != EVFILT_WRITE) return EINVAL;
  constexpr int kKnown = EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_ONESHOT | EV_RECEIPT;
  if ((change.flags & ~kKnown) != 0 || change.fflags != 0) return EINVAL;

  const int fd = static_cast<int>(change.ident);
  DropIfClosed(fd);
  const auto found = watched_.find(fd);
  const bool known = found != watched_.end();
  Watched after = known ? found->second : Watched();
  Filter& filter = change.filter == EVFILT_READ ? after.read : after.write;
  if ((change.flags & EV_ADD) != 0) {
    const bool enabled = !filter.exists || filter.enabled;
    filter = {true, enabled, (change.flags & EV_ONESHOT) != 0, change.udata};
  }
  if (!filter.exists) return fcntl(fd, F_GETFD) < 0 ? EBADF : ENOENT;
  filter.udata = change.udata;
  if ((change.flags & EV_ENABLE) != 0) filter.enabled = true;
  if ((change.flags & EV_DISABLE) != 0) filter.enabled = false;
  if ((change.flags & EV_DELETE) != 0) filter = Filter();

  const bool keeps = after.read.exists || after.write.exists;
  const int operation = !keeps ? EPOLL_CTL_DEL : known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (!Control(operation, fd, after)) return errno;
  if (keeps) {
    watched_[fd] = after;
  } else {
    watched_.erase(fd);
  }
  return 0;
}

// A descriptor was closed while a duplicate of it lives on: epoll goes on watching the file, and
// has no way to be told not to. A new one, in the place of the old, has never heard of it.
void Queue::Rebuild() {
  const std::lock_guard<std::mutex> lock(making);  // in between it looks closed
  for (auto it = watched_.begin(); it != watched_.end();) {
    const bool open = Control(EPOLL_CTL_MOD, it->first, it->second);
    it = open ? std::next(it) : watched_.erase(it);
  }
  const int fresh = epoll_create1(EPOLL_CLOEXEC);
  if (fresh < 0) return;  // then it reports more, which is not passed on
  dup3(fresh, epoll_, O_CLOEXEC);
  close(fresh);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = user_;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, user_, &event);
  for (const auto& [fd, watched] : watched_) Control(EPOLL_CTL_ADD, fd, watched);
}

void Queue::Report(int fd, int16_t filter, bool ended, int error, Event* event) {
  Watched& watched = watched_[fd];
  Filter& reported = filter == EVFILT_READ ? watched.read : watched.write;
  const int64_t data = filter == EVFILT_WRITE ? WritableBytes(fd)
                       : IsListener(fd)       ? Backlog(fd)
                                              : ReadableBytes(fd);
  const int flags = (reported.oneshot ? EV_ONESHOT : 0) | (ended ? EV_EOF : 0);
  EV_SET(event, static_cast<uintptr_t>(fd), filter, flags, static_cast<uint32_t>(error), data,
         reported.udata);
  if (!reported.oneshot) return;
  Event remove;
  EV_SET(&remove, event->ident, filter, EV_DELETE, 0, 0, nullptr);
  Change(remove);
}

int Queue::Harvest(const epoll_event& ready, Event* events, int room) {
  const int fd = ready.data.fd;
  if (fd == user_) {
    uint64_t count;
    if (read(user_, &count, sizeof(count)) < 0 || !has_user_.load()) return 0;
    EV_SET(events, user_ident_, EVFILT_USER, EV_CLEAR, 0, 0, user_udata_);
    return 1;
  }
  const auto found = watched_.find(fd);
  if (found == watched_.end() || !Control(EPOLL_CTL_MOD, fd, found->second)) {
    Rebuild();
    return 0;
  }
  const Watched& watched = found->second;
  const bool hung_up = (ready.events & (EPOLLERR | EPOLLHUP)) != 0;
  const bool reads = watched.read.enabled && (hung_up || (ready.events & (EPOLLIN | EPOLLRDHUP)));
  const bool writes = watched.write.enabled && (hung_up || (ready.events & EPOLLOUT));
  if (room == 0 || (!reads && !writes)) return 0;
  int error = (ready.events & EPOLLERR) != 0 ? GetOption(fd, SOL_SOCKET, SO_ERROR) : 0;
  int count = 0;
  if (reads) {
    const bool ended = hung_up || (ready.events & EPOLLRDHUP) != 0;
    Report(fd, EVFILT_READ, ended, std::exchange(error, 0), &events[count++]);
  }
  if (writes && count < room) Report(fd, EVFILT_WRITE, hung_up, error, &events[count++]);
  return count;
}

int Queue::Wait(Event* events, int room, const timespec* timeout) {
  // One descriptor may have two events. What finds no room is level-triggered and comes again.
  std::vector<epoll_event> ready(static_cast<size_t>(std::max(room / 2, 1)));
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t wanted = Milliseconds(timeout);
  const int64_t start = int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
  for (int64_t left = wanted;;) {
    const int found = epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()),
                                 static_cast<int>(std::min<int64_t>(left, INT_MAX)));
    if (found < 0) return -1;
    int count = 0;
    for (int i = 0; i < found; ++i) count += Harvest(ready[i], events + count, room - count);
    if (count != 0) return count;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (wanted >= 0) {
      left = start + wanted + 1 - (int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000);
      if (found == 0 || left <= 0) return 0;
    }
  }
}

// The queues that there are, by descriptor. Read without a lock, since a signal handler may
// trigger.
constexpr size_t kMostQueues = 65'536;
std::array<std::atomic<Queue*>, kMostQueues> queues;

// Those whose descriptor has been closed since.
void FreeClosedQueues() {
  for (std::atomic<Queue*>& slot : queues) {
    Queue* const queue = slot.load(std::memory_order_relaxed);
    if (queue == nullptr || queue->alive()) continue;
    slot.store(nullptr);
    delete queue;
  }
}

Queue* Find(int fd) {
  if (fd < 0 || static_cast<size_t>(fd) >= kMostQueues) return nullptr;
  return queues[static_cast<size_t>(fd)].load();
}

}  // namespace

int kqueue() {
  const std::lock_guard<std::mutex> lock(making);
  FreeClosedQueues();
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return -1;
  const int user = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (user < 0 || static_cast<size_t>(epoll) >= kMostQueues) {
    if (user >= 0) close(user);
    close(epoll);
    errno = EMFILE;
    return -1;
  }
  delete queues[static_cast<size_t>(epoll)].exchange(new Queue(epoll, user));
  return epoll;
}

int kevent(int fd, const struct kevent* changes, int change_count, struct kevent* events,
           int event_count, const timespec* timeout) {
  Queue* const queue = Find(fd);
  if (queue == nullptr) {
    errno = EBADF;
    return -1;
  }
  if (change_count == 1 && event_count == 0 && changes->filter == EVFILT_USER &&
      changes->flags == 0 && changes->fflags == NOTE_TRIGGER) {
    if (queue->Trigger(changes->ident)) return 0;
    errno = ENOENT;
    return -1;
  }
  int reported = 0;
  for (int i = 0; i < change_count; ++i) {
    const int error = queue->Change(changes[i]);
    if (error == 0 && (changes[i].flags & EV_RECEIPT) == 0) continue;
    if (reported == event_count) {
      if (error == 0) continue;
      errno = error;
      return -1;
    }
    events[reported] = changes[i];
    events[reported].flags = EV_ERROR;
    events[reported].data = error;
    ++reported;
  }
  if (reported != 0 || event_count == 0) return reported;
  return queue->Wait(events, event_count, timeout);
}

}  // namespace sluice::internal::kqueue_shim
