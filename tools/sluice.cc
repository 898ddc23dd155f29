#include "sluice/tools/protocol.h"
#include "sluice/tools/sluice_main.h"

int main(int argc, char** argv) {
  const sluice::tools::ProtocolTable protocols = sluice::tools::StandardProtocols();
  return sluice::tools::SluiceMain(protocols, argc, argv);
}
