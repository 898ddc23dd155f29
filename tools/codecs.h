// `sluice codecs`: the protocols that a command line has, with their URLs, options and limits.
#ifndef SLUICE_TOOLS_CODECS_H_
#define SLUICE_TOOLS_CODECS_H_

#include "sluice/tools/command.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// The protocols must outlive it.
Command CodecsCommand(const ProtocolTable& protocols);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_CODECS_H_
