// kqueue(2) and kevent(2) for the engine: the system's, or, in the testonly target that has
// SLUICE_KQUEUE_ON_SHIM defined, those of kqueue_shim.h. SLUICE_HAS_KQUEUE is 0 where there are
// neither.
#ifndef SLUICE_CORE_INTERNAL_KQUEUE_API_H_
#define SLUICE_CORE_INTERNAL_KQUEUE_API_H_

#ifdef SLUICE_KQUEUE_ON_SHIM

#include "sluice/core/internal/kqueue_shim.h"

#define SLUICE_HAS_KQUEUE 1

namespace sluice::internal {
using namespace kqueue_shim;  // NOLINT: the names of <sys/event.h>
}  // namespace sluice::internal

#elif __has_include(<sys/event.h>)

#include <sys/types.h>
// After it.
#include <sys/event.h>

#define SLUICE_HAS_KQUEUE 1

#else

#define SLUICE_HAS_KQUEUE 0

#endif

#endif  // SLUICE_CORE_INTERNAL_KQUEUE_API_H_
