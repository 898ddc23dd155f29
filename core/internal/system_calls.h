// recv(2), send(2) and sendmsg(2), the ways of a stream's bytes, as the kernel has them. In a
// process with several threads the C library's pay for being points at which a thread can be
// cancelled, with two atomic writes each; on a loop nobody cancels threads.
//
// Sanitizers see the C library's, of which they know which memory is read and written. A library
// that stands before the C library's socket calls (LD_PRELOAD) does not see these.
#ifndef SLUICE_CORE_INTERNAL_SYSTEM_CALLS_H_
#define SLUICE_CORE_INTERNAL_SYSTEM_CALLS_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>

#include "absl/base/config.h"

#if defined(__linux__) && !defined(ABSL_HAVE_ADDRESS_SANITIZER) && \
    !defined(ABSL_HAVE_MEMORY_SANITIZER) && !defined(ABSL_HAVE_THREAD_SANITIZER)
#include <sys/syscall.h>
#include <unistd.h>
#if defined(SYS_recvfrom) && defined(SYS_sendto) && defined(SYS_sendmsg)
#define SLUICE_BARE_SYSTEM_CALLS
#endif
#endif

namespace sluice::internal {

inline ssize_t SystemReceive(int fd, void* bytes, size_t size) {
#ifdef SLUICE_BARE_SYSTEM_CALLS
  return syscall(SYS_recvfrom, fd, bytes, size, 0, nullptr, nullptr);
#else
  return recv(fd, bytes, size, 0);
#endif
}

inline ssize_t SystemSend(int fd, const void* bytes, size_t size, int flags) {
#ifdef SLUICE_BARE_SYSTEM_CALLS
  return syscall(SYS_sendto, fd, bytes, size, flags, nullptr, 0);
#else
  return send(fd, bytes, size, flags);
#endif
}

inline ssize_t SystemSendMessage(int fd, const msghdr* message, int flags) {
#ifdef SLUICE_BARE_SYSTEM_CALLS
  return syscall(SYS_sendmsg, fd, message, flags);
#else
  return sendmsg(fd, message, flags);
#endif
}

}  // namespace sluice::internal

#undef SLUICE_BARE_SYSTEM_CALLS

#endif  // SLUICE_CORE_INTERNAL_SYSTEM_CALLS_H_
