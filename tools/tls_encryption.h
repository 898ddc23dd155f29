// TLS for the command line, by //tls: its flags are those of tls_flags.h.
//
// Example: the whole command line with a codec more, and TLS.
//
//   int main(int argc, char** argv) {
//     sluice::tools::ProtocolTable protocols = sluice::tools::StandardProtocols();
//     protocols.Add(sluice::tools::CodecProtocol<ShortTextCodec>({.name = "short"}));
//     protocols.SetEncryption(sluice::tools::TlsEncryption());          // shorts://, too
//     return sluice::tools::SluiceMain(protocols, argc, argv);
//   }
#ifndef SLUICE_TOOLS_TLS_ENCRYPTION_H_
#define SLUICE_TOOLS_TLS_ENCRYPTION_H_

#include <memory>

#include "sluice/tools/encryption.h"

namespace sluice::tools {

std::unique_ptr<Encryption> TlsEncryption();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_TLS_ENCRYPTION_H_
