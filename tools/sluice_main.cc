#include "sluice/tools/sluice_main.h"

#include <cstdio>
#include <vector>

#include "absl/strings/string_view.h"
#include "sluice/tools/bench.h"
#include "sluice/tools/cat.h"
#include "sluice/tools/codecs.h"
#include "sluice/tools/command.h"
#include "sluice/tools/demo.h"
#include "sluice/tools/echo.h"
#include "sluice/tools/relay.h"

namespace sluice::tools {

int SluiceMain(const ProtocolTable& protocols, int argc, char** argv) {
  std::vector<Command> commands = {EchoCommand(protocols), BenchCommand(protocols),
                                   CatCommand(protocols), RelayCommand(protocols),
                                   CodecsCommand(protocols)};
  if (protocols.FindByName(kDemoProtocol) != nullptr) commands.push_back(DemoCommand(protocols));
  // A program is called what its users call it.
  absl::string_view program = argv[0];
  program.remove_prefix(program.rfind('/') + 1);
  return RunCommandLine(program, commands, argc, argv, stdout, stderr);
}

}  // namespace sluice::tools
