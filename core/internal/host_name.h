// What can be written for a host: an address, or a name that somebody has to look up.
#ifndef SLUICE_CORE_INTERNAL_HOST_NAME_H_
#define SLUICE_CORE_INTERNAL_HOST_NAME_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {

// The address that the host is, with port 0: "127.0.0.1", "::1", "fe80::1%eth0". None
// (Family::kNone) for a name, and for what is neither.
SocketAddress LiteralAddress(absl::string_view host);

// kInvalidArgument, with what is accepted, unless the host is an address or has at most 255
// letters, digits, '-', '.' and '_', which is all that a name can have.
absl::Status CheckHost(absl::string_view host);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_HOST_NAME_H_
