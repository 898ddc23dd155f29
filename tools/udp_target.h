// A URL of UDP, udp://HOST:PORT, where a client's command takes one. UDP has no streams, so it is
// no Protocol: its commands have a part of their own for it.
#ifndef SLUICE_TOOLS_UDP_TARGET_H_
#define SLUICE_TOOLS_UDP_TARGET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/core/dialer.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/command.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// Whether the command's only argument is such a URL, well-formed or not.
bool NamesUdp(const Invocation& invocation);

// Where it leads. `flags` are those that mean nothing with it; so do codecs, compression, proxies
// and encryption. An error is bad usage.
absl::StatusOr<Endpoint> ReadUdpTarget(const ProtocolTable& protocols, const Invocation& invocation,
                                       const std::vector<std::string>& flags);

// Its address. Of a name the first that the system knows: of IPv4, or else of IPv6. Blocks.
absl::StatusOr<SocketAddress> LookUp(const Endpoint& endpoint);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_UDP_TARGET_H_
