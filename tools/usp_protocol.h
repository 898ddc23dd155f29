// The messages of lxzan/socket (protocols/usp/message_codec.h), with its heartbeat, not encrypted:
// --protocol=usp, usp://. A message's header is sent back by a server, and not shown by a client.
#ifndef SLUICE_TOOLS_USP_PROTOCOL_H_
#define SLUICE_TOOLS_USP_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> UspProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_USP_PROTOCOL_H_
