// What an engine is told of datagrams and tells of them: the options of a socket, what has arrived,
// what is to leave. Users meet these types through UdpSocket (udp.h).
//
// Thread-compatible.
#ifndef SLUICE_CORE_DATAGRAM_H_
#define SLUICE_CORE_DATAGRAM_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "sluice/core/socket_address.h"

namespace sluice {

// What UDP over IPv4 can carry.
constexpr size_t kMaxDatagramBytes = 65'507;

struct DatagramOptions {
  int send_buffer_bytes = 0;     // SO_SNDBUF, 0: the system's
  int receive_buffer_bytes = 0;  // SO_RCVBUF, 0: the system's
  // Several sockets of one user on one port: the system spreads the peers over them, or, with
  // `reuse_address`, gives each what arrives for a multicast group (and what does not to any).
  bool reuse_port = false;
  bool reuse_address = false;
  // Of an IPv6 socket: no IPv4 peers. Else they have addresses such as [::ffff:10.0.0.1]:9000.
  bool ipv6_only = false;
  // Longer datagrams are cut to it, and marked.
  size_t max_datagram_bytes = kMaxDatagramBytes;
  // What is to be told of each datagram that arrives; each costs a little for each.
  bool receive_local = false;  // ReceivedDatagram::local and ::interface
  bool receive_ecn = false;
  bool receive_ttl = false;
  // Lets the system split and join datagrams of one size and peer (UDP_SEGMENT, UDP_GRO) where it
  // can. Nothing shows but what it costs.
  bool offload = true;
  int ttl = 0;      // of what is sent, or the hop limit; 0: the system's
  uint8_t tos = 0;  // of what is sent: DSCP, and ECN in the lower two bits
  // Of what is sent to a multicast group.
  int multicast_ttl = 1;
  bool multicast_loop = true;            // this host's members get it, too
  std::string multicast_interface = {};  // a name; empty: the system's choice
};

// A datagram that has arrived. All of it is lent, until the callback returns; the bytes are
// writable.
struct ReceivedDatagram {
  absl::Span<uint8_t> bytes;
  const SocketAddress* peer;  // whose it is; never null
  const SocketAddress* local =
      nullptr;             // which address of this host it was sent to, or which group
  uint32_t interface = 0;  // where it has arrived: an index; 0 with `local` null
  int16_t ttl = -1;        // -1: not asked for
  uint8_t ecn = 0;
  bool truncated = false;  // it was longer than DatagramOptions::max_datagram_bytes
};

// How one datagram is to be sent.
struct DatagramSendOptions {
  const SocketAddress* source = nullptr;  // an address of this host; its port is of no concern
  int8_t ecn = -1;                        // 0 to 3; -1: as DatagramOptions::tos says
};

// A datagram that is to leave. All of it is lent to the call.
struct OutgoingDatagram {
  absl::Span<const uint8_t> bytes;
  const SocketAddress* peer = nullptr;  // null: the one that the socket is connected to
  DatagramSendOptions options = {};
};

// What became of datagrams that were to leave: the first `taken` have left. `error` is 0 when those
// are all, EAGAIN when the system has no room now, and else why the next one cannot be sent.
struct DatagramsSent {
  size_t taken;
  int error;
};

struct MulticastGroup {
  SocketAddress group = {};    // its port is of no concern
  std::string interface = {};  // a name; empty: the system's choice
  SocketAddress source = {};   // only what comes from there, whatever its port; none: from anywhere
};

}  // namespace sluice

#endif  // SLUICE_CORE_DATAGRAM_H_
