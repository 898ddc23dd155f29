#include "sluice/core/internal/detached_thread.h"

#include <pthread.h>
#include <signal.h>

#include <memory>
#include <utility>

#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

using Body = absl::AnyInvocable<void()>;

void* Main(void* argument) {
  const std::unique_ptr<Body> body(static_cast<Body*>(argument));
  (*body)();
  return nullptr;
}

}  // namespace

// pthread_create, because std::thread has no way to fail but an exception.
absl::Status StartDetachedThread(absl::string_view what, Body body) {
  auto boxed = std::make_unique<Body>(std::move(body));
  sigset_t blocked, before;
  sigfillset(&blocked);
  // Those that are the thread's own doing.
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&blocked, signal);
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);  // the new thread inherits it
  pthread_t thread;
  const int error = pthread_create(&thread, &detached, &Main, boxed.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&detached);
  if (error == 0) {
    boxed.release();
    return absl::OkStatus();
  }
  // EAGAIN, of which the general meaning is another.
  return absl::ResourceExhaustedError(SystemError(error, "pthread_create", what).message());
}

}  // namespace sluice::internal
