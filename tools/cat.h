// `sluice cat`: standard input to a server, and what it answers to standard output.
#ifndef SLUICE_TOOLS_CAT_H_
#define SLUICE_TOOLS_CAT_H_

#include "sluice/tools/command.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// The table must outlive the command.
Command CatCommand(const ProtocolTable& protocols);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_CAT_H_
