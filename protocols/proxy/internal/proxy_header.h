// The two forms of a PROXY protocol header; see proxy_protocol.h.
//
// Thread-safe: functions.
#ifndef SLUICE_PROTOCOLS_PROXY_INTERNAL_PROXY_HEADER_H_
#define SLUICE_PROTOCOLS_PROXY_INTERNAL_PROXY_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/socket_address.h"
#include "sluice/protocols/proxy/proxy_protocol.h"

namespace sluice::proxy::internal {

// What each begins with. Version 2's is made so that nothing else takes it for its own.
inline constexpr absl::string_view kTextStart = "PROXY ";
inline constexpr absl::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

inline constexpr size_t kShortestText = 15;  // "PROXY UNKNOWN\r\n"
inline constexpr size_t kLongestText = 107;

// Whether the one is the beginning of the other.
inline bool StartsAs(absl::Span<const uint8_t> bytes, absl::string_view start) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.substr(0, start.size()) == start.substr(0, text.size());
}

// Of bytes that start as such a header does.
absl::StatusOr<ProxyHeaderPart> ReadTextHeader(absl::Span<const uint8_t> bytes);
absl::StatusOr<ProxyHeaderPart> ReadBinaryHeader(absl::Span<const uint8_t> bytes, size_t max_bytes);

std::string WriteTextHeader(const ProxyHeader& header);
absl::StatusOr<std::string> WriteBinaryHeader(const ProxyHeader& header);

// An address and a port as they are on the wire: 4 or 16 bytes, and 2.
SocketAddress IpAddress(const uint8_t* host, size_t host_size, const uint8_t* port);

// The families of both addresses, where they have one in common; kNone otherwise. IPv4 that is
// written as IPv6 is IPv4.
struct AddressPair {
  SocketAddress source;
  SocketAddress destination;
  SocketAddress::Family family = SocketAddress::Family::kNone;
};
AddressPair PairOf(const ProxyHeader& header);

}  // namespace sluice::proxy::internal

#endif  // SLUICE_PROTOCOLS_PROXY_INTERNAL_PROXY_HEADER_H_
