// What the simulation asks of addresses.
#ifndef SLUICE_CORE_SIMULATED_ADDRESS_H_
#define SLUICE_CORE_SIMULATED_ADDRESS_H_

#include "sluice/core/socket_address.h"

namespace sluice::internal {

// 0.0.0.0, [::].
bool IsAny(const SocketAddress& address);

// Leads to the host itself, wherever that is: a loopback address, one that is no place in
// particular, and a Unix one.
bool IsLoopback(const SocketAddress& address);

// 255.255.255.255.
bool IsBroadcast(const SocketAddress& address);

bool IsMulticast(const SocketAddress& address);

// IPv6 sockets see IPv4 addresses as [::ffff:10.0.0.1]:80. Any other address is left as it is.
SocketAddress Unmapped(const SocketAddress& address);
SocketAddress Mapped(const SocketAddress& address);

// Unmapped, with port 0.
SocketAddress HostOf(const SocketAddress& address);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_SIMULATED_ADDRESS_H_
