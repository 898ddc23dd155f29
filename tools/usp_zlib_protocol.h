// The form of the older Python port of usp (protocols/usp/zlib_frame_codec.h): --protocol=usp-zlib,
// usp-zlib://.
#ifndef SLUICE_TOOLS_USP_ZLIB_PROTOCOL_H_
#define SLUICE_TOOLS_USP_ZLIB_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> UspZlibProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_USP_ZLIB_PROTOCOL_H_
