// `sluice demo`: a server, a load on it and a picture of the result, in one command.
#ifndef SLUICE_TOOLS_DEMO_H_
#define SLUICE_TOOLS_DEMO_H_

#include "sluice/tools/command.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// Uses the table's WebSocket, or, where it has none, its first protocol. The table must outlive the
// command.
Command DemoCommand(const ProtocolTable& protocols);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_DEMO_H_
