// kqueue_shim is kqueue(2) and kevent(2) over epoll(7), for tests on Linux: the names, and as far
// as a system without them can, the behaviour of FreeBSD's manual page, of what the kqueue engine
// uses:
//   EVFILT_READ, EVFILT_WRITE   of sockets, with EV_ADD, EV_DELETE, EV_ENABLE, EV_DISABLE,
//                               EV_ONESHOT, EV_RECEIPT; level-triggered
//   EVFILT_USER                 one for a kqueue, with EV_ADD and NOTE_TRIGGER; EV_CLEAR only
// Everything else is refused with EINVAL, so that an engine that comes to need more says so.
//
// As in the manual page: there is one event for an (ident, filter), and adding it again modifies
// it; errors of changes come back as EV_ERROR events, before any other event, or as
// the result where there is no room for them; no room at all means no wait; closing a descriptor
// removes its events, also when a duplicate of it lives on; `data` of a read event is the number of
// bytes to read, or of connections to accept; EV_EOF says that the peer has ended, and fflags then
// is the socket's error.
//
// Stricter than the manual page, as some systems are: adding a disabled filter again does not
// enable it.
//
// Not as there: Linux tells a socket's error once, and so does the shim, as libkqueue: one event
// has it in fflags, and neither a later one nor the next call on the socket reports it. A write
// event says EV_EOF only when both directions have ended. The backlog of a Unix listener counts
// as 1.
//
// Example:
//   const int queue = kqueue_shim::kqueue();
//   struct kqueue_shim::kevent change, event;
//   EV_SET(&change, socket, EVFILT_READ, EV_ADD, 0, 0, nullptr);
//   kevent(queue, &change, 1, &event, 1, nullptr);                 // waits for bytes
//
// A kqueue is for one thread; NOTE_TRIGGER, when it is the only change and no events are asked for,
// may come from any thread and from a signal handler. The descriptor is closed with close(2).
#ifndef SLUICE_CORE_INTERNAL_KQUEUE_SHIM_H_
#define SLUICE_CORE_INTERNAL_KQUEUE_SHIM_H_

#include <time.h>

#include <cstdint>

namespace sluice::internal::kqueue_shim {

// NOLINTBEGIN: the names are those of <sys/event.h>.
struct kevent {
  uintptr_t ident;
  int16_t filter;
  uint16_t flags;
  uint32_t fflags;
  int64_t data;
  void* udata;
};

constexpr int16_t EVFILT_READ = -1;
constexpr int16_t EVFILT_WRITE = -2;
constexpr int16_t EVFILT_USER = -11;

constexpr uint16_t EV_ADD = 0x0001;
constexpr uint16_t EV_DELETE = 0x0002;
constexpr uint16_t EV_ENABLE = 0x0004;
constexpr uint16_t EV_DISABLE = 0x0008;
constexpr uint16_t EV_ONESHOT = 0x0010;
constexpr uint16_t EV_CLEAR = 0x0020;
constexpr uint16_t EV_RECEIPT = 0x0040;
constexpr uint16_t EV_ERROR = 0x4000;
constexpr uint16_t EV_EOF = 0x8000;

constexpr uint32_t NOTE_TRIGGER = 0x01000000;

inline void EV_SET(struct kevent* event, uintptr_t ident, int16_t filter, int flags,
                   uint32_t fflags, int64_t data, void* udata) {
  *event = {ident, filter, static_cast<uint16_t>(flags), fflags, data, udata};
}
// NOLINTEND

int kqueue();
// The struct and the function have one name, as in the system's header.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
int kevent(int queue, const struct kevent* changes, int change_count, struct kevent* events,
           int event_count, const timespec* timeout);
#pragma GCC diagnostic pop

}  // namespace sluice::internal::kqueue_shim

#endif  // SLUICE_CORE_INTERNAL_KQUEUE_SHIM_H_
