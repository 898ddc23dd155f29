// Where a deflate block ends (RFC 1951 section 3.2). A stream that ends does so within a byte, and
// says nowhere where; who wants to append a further block has to know.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_DEFLATE_BLOCK_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_DEFLATE_BLOCK_H_

#include <cstdint>

#include "absl/types/span.h"

namespace sluice::websocket::internal {

// How many bits of the last byte, 0 to 7, are not the block's, which begins with the first byte. -1
// for a block of which that cannot be told without decoding it all: one with the fixed codes, or
// none of its own, or damaged.
//
// The last symbol of a block is its end, 256. The head tells its code; and the last bit of the
// block that is set is that code's, unless all of it is zeros, and is followed by as many zeros as
// the code ends with.
int UnusedBitsBehindBlock(absl::Span<const uint8_t> block);

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_DEFLATE_BLOCK_H_
