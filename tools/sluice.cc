#include "sluice/tools/protocol.h"
#include "sluice/tools/sluice_main.h"
#include "sluice/tools/standard_protocols.h"
#include "sluice/tools/tls_encryption.h"

int main(int argc, char** argv) {
  sluice::tools::ProtocolTable protocols = sluice::tools::StandardProtocols();
  protocols.SetEncryption(sluice::tools::TlsEncryption());
  return sluice::tools::SluiceMain(protocols, argc, argv);
}
