// Plain bytes: --protocol=raw, tcp://.
#ifndef SLUICE_TOOLS_RAW_PROTOCOL_H_
#define SLUICE_TOOLS_RAW_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> RawProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_RAW_PROTOCOL_H_
