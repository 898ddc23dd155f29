#include "sluice/tools/sluice_main.h"

#include <cstdio>
#include <vector>

#include "sluice/tools/bench.h"
#include "sluice/tools/cat.h"
#include "sluice/tools/command.h"
#include "sluice/tools/demo.h"
#include "sluice/tools/echo.h"
#include "sluice/tools/frame_protocol.h"
#include "sluice/tools/raw_protocol.h"
#include "sluice/tools/websocket_protocol.h"

namespace sluice::tools {

ProtocolTable StandardProtocols() {
  ProtocolTable protocols;
  protocols.Add(RawProtocol());
  protocols.Add(FrameProtocol());
  protocols.Add(WebSocketProtocol());
  return protocols;
}

int SluiceMain(const ProtocolTable& protocols, int argc, char** argv) {
  const std::vector<Command> commands = {EchoCommand(protocols), BenchCommand(protocols),
                                         CatCommand(protocols), DemoCommand(protocols)};
  return RunCommandLine("sluice", commands, argc, argv, stdout, stderr);
}

}  // namespace sluice::tools
