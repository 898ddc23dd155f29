// --poller, which several commands accept, and the flag type behind it.
#ifndef SLUICE_TOOLS_POLLER_FLAG_H_
#define SLUICE_TOOLS_POLLER_FLAG_H_

#include <string>

#include "absl/flags/declare.h"
#include "absl/strings/string_view.h"
#include "sluice/core/poller.h"

namespace sluice {

// Found by Abseil's flags next to the type.
bool AbslParseFlag(absl::string_view text, PollerKind* kind, std::string* error);
std::string AbslUnparseFlag(PollerKind kind);

}  // namespace sluice

ABSL_DECLARE_FLAG(sluice::PollerKind, poller);

#endif  // SLUICE_TOOLS_POLLER_FLAG_H_
