// `sluice bench`: puts a load on a server and tells how it went.
#ifndef SLUICE_TOOLS_BENCH_H_
#define SLUICE_TOOLS_BENCH_H_

#include "sluice/tools/command.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// The table must outlive the command.
Command BenchCommand(const ProtocolTable& protocols);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_BENCH_H_
