#include "sluice/tools/standard_protocols.h"

#include "sluice/tools/frame_protocol.h"
#include "sluice/tools/raw_protocol.h"
#include "sluice/tools/websocket_protocol.h"

namespace sluice::tools {

ProtocolTable StandardProtocols() {
  ProtocolTable protocols;
  protocols.Add(RawProtocol());
  protocols.Add(FrameProtocol());
  protocols.Add(WebSocketProtocol());
  return protocols;
}

}  // namespace sluice::tools
