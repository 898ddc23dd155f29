// Threads of the library's own that nobody joins.
#ifndef SLUICE_CORE_INTERNAL_DETACHED_THREAD_H_
#define SLUICE_CORE_INTERNAL_DETACHED_THREAD_H_

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice::internal {

// Runs `body` on a new thread, which leaves the process's signals to the others. What the body uses
// it must own. kResourceExhausted, naming `what`, when the system has no more threads.
absl::Status StartDetachedThread(absl::string_view what, absl::AnyInvocable<void()> body);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_DETACHED_THREAD_H_
