// SHA-1 (FIPS 180-4), for Sec-WebSocket-Accept alone: it shows there that a server understood the
// request, and protects nothing.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_SHA1_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_SHA1_H_

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace sluice::websocket::internal {

std::array<uint8_t, 20> Sha1(absl::string_view message);

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_SHA1_H_
