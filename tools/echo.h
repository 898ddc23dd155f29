// `sluice echo`: a server that sends back what it gets.
#ifndef SLUICE_TOOLS_ECHO_H_
#define SLUICE_TOOLS_ECHO_H_

#include "sluice/tools/command.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// The table must outlive the command.
Command EchoCommand(const ProtocolTable& protocols);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_ECHO_H_
