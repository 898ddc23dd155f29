// Why a WebSocket connection ends: the status codes of close frames (RFC 6455 section 7.4 and the
// registry that IANA keeps for it).
//
// Example:
//   if (MayBeSent(code)) connection.Close(static_cast<CloseCode>(code), "see you");

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_CLOSE_CODE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_CLOSE_CODE_H_

#include <cstdint>

namespace sluice::websocket {

// The registered ones; 3000 to 4999 are for libraries and applications and may be cast to this
// type.
enum class CloseCode : uint16_t {
  kNormal = 1000,
  kGoingAway = 1001,
  kProtocolError = 1002,
  kUnsupportedData = 1003,
  kNoStatus = 1005,        // never sent: the peer's close frame had no code
  kAbnormal = 1006,        // never sent: the connection ended without a close frame
  kInvalidPayload = 1007,  // text that is not UTF-8
  kPolicyViolation = 1008,
  kMessageTooBig = 1009,
  kMissingExtension = 1010,  // sent by clients only
  kInternalError = 1011,
  kServiceRestart = 1012,
  kTryAgainLater = 1013,
  kBadGateway = 1014,
};

// Whether a code may stand in a close frame: 1000-1003, 1007-1014, 3000-4999. The rest is reserved
// for what is never sent (1005, 1006, 1015) or for nobody yet.
constexpr bool MayBeSent(uint16_t code) {
  if (code >= 3000) return code <= 4999;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_CLOSE_CODE_H_
