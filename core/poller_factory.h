// Makes the engine that was asked for by name: the one place that knows them all.
#ifndef SLUICE_CORE_POLLER_FACTORY_H_
#define SLUICE_CORE_POLLER_FACTORY_H_

#include <memory>

#include "absl/status/statusor.h"
#include "sluice/core/poller.h"

namespace sluice {

// kUnimplemented where this system has none of that kind (or only an older one than the engine
// needs), kPermissionDenied where it is forbidden; kResourceExhausted without descriptors.
// Thread-safe.
absl::StatusOr<std::unique_ptr<Poller>> CreatePoller(PollerKind kind);

}  // namespace sluice

#endif  // SLUICE_CORE_POLLER_FACTORY_H_
