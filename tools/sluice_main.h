// The command line as a library, so that a program of five lines has all of it with a protocol more
// (see protocol.h for one).
#ifndef SLUICE_TOOLS_SLUICE_MAIN_H_
#define SLUICE_TOOLS_SLUICE_MAIN_H_

#include "sluice/tools/protocol.h"

namespace sluice::tools {

// raw, frame and websocket: what `sluice` has.
ProtocolTable StandardProtocols();

// Runs the command that argv names with these protocols. Returns the exit status.
int SluiceMain(const ProtocolTable& protocols, int argc, char** argv);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_SLUICE_MAIN_H_
