// Target is what a client's command connects to: a URL, the protocol that it names, how it is
// reached, and TLS and compression where they are asked for.
#ifndef SLUICE_TOOLS_TARGET_H_
#define SLUICE_TOOLS_TARGET_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/core/dialer.h"
#include "sluice/tools/command.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/url.h"

namespace sluice::tools {

struct Target {
  std::shared_ptr<const Protocol> protocol;  // with the options of --codec
  Url url;
  // To the URL's endpoint: by its name, whose addresses are remembered for a while, or over a Unix
  // socket; through --proxy, and encrypted, where that is asked for.
  std::shared_ptr<const Dialer> dialer;
  std::shared_ptr<const ClientEncryption> encryption;  // the dialer's; null for none
  std::string proxy;                                   // for messages; empty for none
  bool compress = false;
};

// The protocols' and UDP's, of which ReadUdpTarget (udp_target.h) reads a URL.
std::vector<UrlScheme> TargetSchemes(const ProtocolTable& protocols);

// Of the command's only argument, and of the flags. What the user has to be warned of is said. An
// error is bad usage.
absl::StatusOr<Target> ReadTarget(const ProtocolTable& protocols, const Invocation& invocation);

// `flags`, --codec, --deflate, --proxy, and those that say how to encrypt.
std::vector<std::string> WithClientFlags(const ProtocolTable& protocols,
                                         std::vector<std::string> flags);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_TARGET_H_
