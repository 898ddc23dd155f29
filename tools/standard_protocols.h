// The protocols that `sluice` has: raw, frame, websocket, line, netstring, varint, resp, usp and
// usp-zlib. A command line that is to have its own protocols only has no need of this, and links
// none of theirs.
#ifndef SLUICE_TOOLS_STANDARD_PROTOCOLS_H_
#define SLUICE_TOOLS_STANDARD_PROTOCOLS_H_

#include "sluice/tools/protocol.h"

namespace sluice::tools {

// A table of them, to which others may be added.
ProtocolTable StandardProtocols();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_STANDARD_PROTOCOLS_H_
