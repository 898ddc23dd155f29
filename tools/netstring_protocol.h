// D. J. Bernstein's netstrings, 5:hello, (netstring_codec.h): --protocol=netstring, netstring://.
#ifndef SLUICE_TOOLS_NETSTRING_PROTOCOL_H_
#define SLUICE_TOOLS_NETSTRING_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> NetstringProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_NETSTRING_PROTOCOL_H_
