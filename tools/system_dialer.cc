#include "sluice/tools/system_dialer.h"

#include <utility>

#include "sluice/core/caching_resolver.h"
#include "sluice/core/name_dialer.h"
#include "sluice/core/system_resolver.h"

namespace sluice::tools {

absl::StatusOr<std::shared_ptr<const Dialer>> NewSystemDialer() {
  absl::StatusOr<std::shared_ptr<const SystemResolver>> system = SystemResolver::Create();
  if (!system.ok()) return system.status();
  return NameDialer::Create(std::make_shared<CachingResolver>(*std::move(system)));
}

}  // namespace sluice::tools
