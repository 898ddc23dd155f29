// `sluice demo`: a server, a load on it and a picture of the result, in one command.
#ifndef SLUICE_TOOLS_DEMO_H_
#define SLUICE_TOOLS_DEMO_H_

#include "absl/strings/string_view.h"
#include "sluice/tools/command.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

inline constexpr absl::string_view kDemoProtocol = "websocket";

// The table must have the protocol, and outlive the command.
Command DemoCommand(const ProtocolTable& protocols);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_DEMO_H_
