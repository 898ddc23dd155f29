// Lines, which end with LF or CRLF (line_codec.h tells what the options mean): --protocol=line,
// line://.
#ifndef SLUICE_TOOLS_LINE_PROTOCOL_H_
#define SLUICE_TOOLS_LINE_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> LineProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LINE_PROTOCOL_H_
