// `sluice relay`: passes connections on to backends.
#ifndef SLUICE_TOOLS_RELAY_H_
#define SLUICE_TOOLS_RELAY_H_

#include "sluice/tools/command.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// The table, of which only the encryption counts here, must outlive the command.
Command RelayCommand(const ProtocolTable& protocols);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_RELAY_H_
