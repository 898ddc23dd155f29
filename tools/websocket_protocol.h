// WebSocket (RFC 6455): --protocol=websocket, ws://.
#ifndef SLUICE_TOOLS_WEBSOCKET_PROTOCOL_H_
#define SLUICE_TOOLS_WEBSOCKET_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> WebSocketProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_WEBSOCKET_PROTOCOL_H_
