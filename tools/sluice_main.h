// The command line as a library, so that a program of five lines has all of it with a protocol of
// its own (see protocol.h for one): beside the standard ones (standard_protocols.h), or alone.
#ifndef SLUICE_TOOLS_SLUICE_MAIN_H_
#define SLUICE_TOOLS_SLUICE_MAIN_H_

#include "sluice/tools/protocol.h"

namespace sluice::tools {

// Runs the command that argv names with these protocols; the first is what `echo` speaks unless
// told otherwise. (`demo` is there with websocket only.) Returns the exit status.
int SluiceMain(const ProtocolTable& protocols, int argc, char** argv);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_SLUICE_MAIN_H_
