// Messages behind their length as a varint, as protobuf's delimited streams have them
// (varint_codec.h): --protocol=varint, varint://.
#ifndef SLUICE_TOOLS_VARINT_PROTOCOL_H_
#define SLUICE_TOOLS_VARINT_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> VarintProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_VARINT_PROTOCOL_H_
