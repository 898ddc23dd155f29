#include "sluice/protocols/framing/frame_stream.h"

namespace sluice {

template class CodecStream<framing::FrameCodec>;

}  // namespace sluice
