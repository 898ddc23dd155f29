#include "sluice/tools/standard_protocols.h"

#include "sluice/tools/frame_protocol.h"
#include "sluice/tools/line_protocol.h"
#include "sluice/tools/netstring_protocol.h"
#include "sluice/tools/raw_protocol.h"
#include "sluice/tools/resp_protocol.h"
#include "sluice/tools/usp_protocol.h"
#include "sluice/tools/usp_zlib_protocol.h"
#include "sluice/tools/varint_protocol.h"
#include "sluice/tools/websocket_protocol.h"

namespace sluice::tools {

ProtocolTable StandardProtocols() {
  ProtocolTable protocols;
  protocols.Add(RawProtocol());
  protocols.Add(FrameProtocol());
  protocols.Add(WebSocketProtocol());
  protocols.Add(LineProtocol());
  protocols.Add(NetstringProtocol());
  protocols.Add(VarintProtocol());
  protocols.Add(RespProtocol());
  protocols.Add(UspProtocol());
  protocols.Add(UspZlibProtocol());
  return protocols;
}

}  // namespace sluice::tools
