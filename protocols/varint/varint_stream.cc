#include "sluice/protocols/varint/varint_stream.h"

namespace sluice {

template class CodecStream<varint::VarintCodec>;

}  // namespace sluice
