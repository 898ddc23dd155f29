// What engines over the system's sockets do once for a socket of datagrams, or when something is
// wrong with it: open and set it up, connect it, join groups, take the errors that ICMP has
// reported. What is done for each batch is in datagram_ops.h.
//
// Source: udp(7), ip(7), ipv6(7); RFC 3542 and RFC 3678.
#ifndef SLUICE_CORE_INTERNAL_DATAGRAM_SOCKET_H_
#define SLUICE_CORE_INTERNAL_DATAGRAM_SOCKET_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/core/datagram.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {

// A bound socket; non-blocking, close-on-exec.
absl::StatusOr<UniqueFd> OpenDatagramSocket(const SocketAddress& local,
                                            const DatagramOptions& options);

absl::Status ConnectDatagramSocket(int fd, const SocketAddress& peer);

absl::Status JoinDatagramGroup(int fd, const MulticastGroup& group);
absl::Status LeaveDatagramGroup(int fd, const MulticastGroup& group);

// ICMP cannot hold up what else a turn has to do.
constexpr int kDatagramErrorsPerTurn = 16;

// Tells the socket the errors that the system keeps for it, so many a turn and for as long as it is
// open; where there are none, `error`, or else SO_ERROR. Returns how many were told.
int TellDatagramErrors(int fd, Poller::Socket& socket, int error,
                       absl::FunctionRef<bool()> is_open);

// How many datagrams the system has dropped for the socket; modulo 2^32. 0 where it does not tell.
uint64_t DroppedDatagramsOf(int fd);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_DATAGRAM_SOCKET_H_
