#include "sluice/protocols/usp/zlib_frame_stream.h"

namespace sluice {

template class CodecStream<usp::ZlibFrameCodec>;

}  // namespace sluice
