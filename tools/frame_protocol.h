// Messages behind a length, of four bytes, big endian, unless options say otherwise (frame_codec.h
// tells what they mean): --protocol=frame, frame://.
#ifndef SLUICE_TOOLS_FRAME_PROTOCOL_H_
#define SLUICE_TOOLS_FRAME_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

std::unique_ptr<Protocol> FrameProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_FRAME_PROTOCOL_H_
