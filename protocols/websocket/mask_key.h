// Keys for the frames that a client sends. They must be unpredictable to whoever chooses the
// payload, or a page could make a browser put bytes of its choice on the wire (RFC 6455 sections
// 5.3 and 10.3); so they come from the kernel's generator, a few hundred in one call.
//
// Example:
//   header.mask_key = NextMaskKey();
//
// Thread-safe: each thread has a supply of its own (1 KiB). A child of fork() that goes on without
// exec() draws the same keys as its parent until the supply is used up.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_MASK_KEY_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_MASK_KEY_H_

#include <cstdint>

namespace sluice::websocket {

uint32_t NextMaskKey();

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_MASK_KEY_H_
