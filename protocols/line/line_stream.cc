#include "sluice/protocols/line/line_stream.h"

namespace sluice {

template class CodecStream<line::LineCodec>;

}  // namespace sluice
