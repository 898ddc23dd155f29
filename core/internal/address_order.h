// In which order the addresses of a host are to be tried: the destination rules of RFC 6724, as far
// as they can be known from outside of the kernel.
//
// Example:
//   std::vector<Destination> destinations;
//   for (const SocketAddress& address : addresses)
//     destinations.push_back({address, SystemSourceAddress(address)});
//   SortDestinations(destinations);
//
// Of section 6's rules, 1 (unusable addresses last), 2 (matching scope), 5 (matching label),
// 6 (precedence), 8 (smaller scope) and, for IPv6, 9 (longest prefix, of the 64 bits of a network).
// For IPv4, rule 9 would undo the rotation by which name servers spread load. The others need what
// only the system knows (deprecated and home addresses, tunnels). What the rules do not part keeps
// its order.
//
// Thread-safe.
#ifndef SLUICE_CORE_INTERNAL_ADDRESS_ORDER_H_
#define SLUICE_CORE_INTERNAL_ADDRESS_ORDER_H_

#include <vector>

#include "sluice/core/socket_address.h"

namespace sluice::internal {

// `source` is the address from which `address` would be talked to. None: there is no way there.
// Where it is none for all, only the rules that need no source decide.
struct Destination {
  SocketAddress address;
  SocketAddress source;
};

void SortDestinations(std::vector<Destination>& destinations);

// What the system would choose, by connecting a UDP socket, which sends nothing; none where it sees
// no way. Four system calls, none of which blocks.
SocketAddress SystemSourceAddress(const SocketAddress& destination);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_ADDRESS_ORDER_H_
