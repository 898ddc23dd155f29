#include "sluice/protocols/netstring/netstring_stream.h"

namespace sluice {

template class CodecStream<netstring::NetstringCodec>;

}  // namespace sluice
