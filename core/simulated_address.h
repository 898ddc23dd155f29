// What the simulation asks of addresses.
#ifndef SLUICE_CORE_SIMULATED_ADDRESS_H_
#define SLUICE_CORE_SIMULATED_ADDRESS_H_

#include "sluice/core/socket_address.h"

namespace sluice::internal {

// Leads to the host itself, wherever that is: a loopback address, one that is no place in
// particular, and a Unix one.
bool IsLoopback(const SocketAddress& address);

// 255.255.255.255.
bool IsBroadcast(const SocketAddress& address);

bool IsMulticast(const SocketAddress& address);

// The opposite of SocketAddress::Unmapped.
SocketAddress Mapped(const SocketAddress& address);

// Unmapped, with port 0.
SocketAddress HostOf(const SocketAddress& address);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_SIMULATED_ADDRESS_H_
