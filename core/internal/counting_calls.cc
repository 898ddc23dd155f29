#include "sluice/core/internal/counting_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdarg>
#include <cstddef>
#include <cstdlib>

namespace {

constinit thread_local sluice::internal::CallCounts counts;

// The system's own `function`.
template <typename Function>
Function Real(Function /*function*/, const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

// Counts, and calls the system's own.
#define SLUICE_COUNTED(function, ...)                    \
  static const auto real = Real(&(function), #function); \
  ++counts.system_calls;                                 \
  return real(__VA_ARGS__)

extern "C" {

// glibc's own names of them: to look malloc up would call it.
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) noexcept {
  ++counts.allocations;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) noexcept {
  ++counts.allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) noexcept {
  ++counts.allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) noexcept {
  ++counts.allocations;
  return __libc_memalign(alignment, size);
}

// Of turns.

int epoll_wait(int epoll, epoll_event* events, int size, int timeout) {
  SLUICE_COUNTED(epoll_wait, epoll, events, size, timeout);
}
int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  SLUICE_COUNTED(epoll_ctl, epoll, operation, fd, event);
}
// What the C library has no function for: epoll_pwait2, io_uring_enter. No call has more arguments,
// and to read those that are not there is harmless, as the library's own does it.
long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long arguments[6];
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  SLUICE_COUNTED(syscall, number, arguments[0], arguments[1], arguments[2], arguments[3],
                 arguments[4], arguments[5]);
}

// Of bytes and datagrams.

ssize_t read(int fd, void* bytes, size_t size) { SLUICE_COUNTED(read, fd, bytes, size); }
ssize_t pread(int fd, void* bytes, size_t size, off_t offset) {
  SLUICE_COUNTED(pread, fd, bytes, size, offset);
}
ssize_t readv(int fd, const iovec* pieces, int count) { SLUICE_COUNTED(readv, fd, pieces, count); }
ssize_t recv(int fd, void* bytes, size_t size, int flags) {
  SLUICE_COUNTED(recv, fd, bytes, size, flags);
}
ssize_t recvmsg(int fd, msghdr* message, int flags) { SLUICE_COUNTED(recvmsg, fd, message, flags); }
int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  SLUICE_COUNTED(recvmmsg, fd, messages, count, flags, timeout);
}
ssize_t write(int fd, const void* bytes, size_t size) { SLUICE_COUNTED(write, fd, bytes, size); }
ssize_t writev(int fd, const iovec* pieces, int count) {
  SLUICE_COUNTED(writev, fd, pieces, count);
}
ssize_t send(int fd, const void* bytes, size_t size, int flags) {
  SLUICE_COUNTED(send, fd, bytes, size, flags);
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  SLUICE_COUNTED(sendmsg, fd, message, flags);
}
int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  SLUICE_COUNTED(sendmmsg, fd, messages, count, flags);
}
ssize_t sendfile(int fd, int file, off_t* offset, size_t size) noexcept {
  SLUICE_COUNTED(sendfile, fd, file, offset, size);
}
ssize_t splice(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t size,
               unsigned flags) {
  SLUICE_COUNTED(splice, in, in_offset, out, out_offset, size, flags);
}

// Of connections.

int socket(int domain, int type, int protocol) noexcept {
  SLUICE_COUNTED(socket, domain, type, protocol);
}
int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  SLUICE_COUNTED(bind, fd, address, length);
}
int listen(int fd, int backlog) noexcept { SLUICE_COUNTED(listen, fd, backlog); }
int connect(int fd, const sockaddr* address, socklen_t length) {
  SLUICE_COUNTED(connect, fd, address, length);
}
int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  SLUICE_COUNTED(accept4, fd, address, length, flags);
}
int setsockopt(int fd, int level, int option, const void* value, socklen_t length) noexcept {
  SLUICE_COUNTED(setsockopt, fd, level, option, value, length);
}
int getsockopt(int fd, int level, int option, void* value, socklen_t* length) noexcept {
  SLUICE_COUNTED(getsockopt, fd, level, option, value, length);
}
int getsockname(int fd, sockaddr* address, socklen_t* length) noexcept {
  SLUICE_COUNTED(getsockname, fd, address, length);
}
int getpeername(int fd, sockaddr* address, socklen_t* length) noexcept {
  SLUICE_COUNTED(getpeername, fd, address, length);
}
int shutdown(int fd, int how) noexcept { SLUICE_COUNTED(shutdown, fd, how); }
int close(int fd) { SLUICE_COUNTED(close, fd); }

}  // extern "C"

namespace sluice::internal {

CallCounts CountCalls() { return counts; }

}  // namespace sluice::internal
