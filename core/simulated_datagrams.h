// The sockets of datagrams of a simulated network, and what is under way between them.
// simulation.h says what they do.
#ifndef SLUICE_CORE_SIMULATED_DATAGRAMS_H_
#define SLUICE_CORE_SIMULATED_DATAGRAMS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/datagram.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {

class SimulatedPoller;
class SimulatedWorld;
struct SimulatedHostState;

// The interfaces of every host: "lo", which leads to the host itself, and "eth0" to the others.
inline constexpr uint32_t kLoopbackInterface = 1;
inline constexpr uint32_t kNetworkInterface = 2;

struct SimulatedDatagram {
  SocketAddress from;
  SocketAddress to;  // as it was sent: an address of the receiver's host, or a group
  std::string bytes;
  int16_t ttl;
  uint8_t ecn;
  uint32_t interface;  // an index: where it arrives
};

struct SimulatedDatagramSocket {
  uint64_t id;
  SimulatedHostState* host;
  SimulatedPoller* poller;
  Poller::Socket* socket;
  int32_t handle;
  DatagramOptions options;
  SocketAddress local;
  SocketAddress peer;  // none: not connected
  std::vector<MulticastGroup> groups;

  std::deque<SimulatedDatagram> unread;
  size_t unread_bytes = 0;  // with what each costs beside its own
  size_t receive_room;
  uint64_t dropped = 0;
  std::deque<std::pair<int, SocketAddress>> errors;  // to be told, and of whom
  bool receiving = false;

  size_t unsent_bytes = 0;  // that a link has not passed on yet
  size_t send_room;
  bool send_blocked = false;
  bool ready_owed = false;
};

// Of an empty name that of the network; 0 for a name that there is not.
uint32_t InterfaceOf(absl::string_view name);

// Whether what arrives for one bound address could be meant for the other.
bool Overlap(const SocketAddress& a, bool a_is_ipv6_only, const SocketAddress& b,
             bool b_is_ipv6_only);

// What `host` sends to `to` comes from here, unless the socket says. None: there is no way there.
std::optional<SocketAddress> SourceFor(const SimulatedHostState& host, const SocketAddress& to);

class SimulatedDatagrams {
 public:
  explicit SimulatedDatagrams(SimulatedWorld& world) : world_(world) {}

  absl::StatusOr<SimulatedDatagramSocket*> Open(SimulatedPoller& poller, Poller::Socket& socket,
                                                const SocketAddress& local,
                                                const DatagramOptions& options);
  absl::Status Connect(SimulatedDatagramSocket& socket, const SocketAddress& peer);
  DatagramsSent Send(SimulatedDatagramSocket& socket, absl::Span<const OutgoingDatagram> datagrams);
  absl::Status JoinGroup(SimulatedDatagramSocket& socket, const MulticastGroup& group);
  absl::Status LeaveGroup(SimulatedDatagramSocket& socket, const MulticastGroup& group);
  void Close(SimulatedDatagramSocket& socket);

  // Null for one that is closed.
  SimulatedDatagramSocket* Find(uint64_t id);

  // The first one that has arrived, which there must be.
  SimulatedDatagram TakeFirst(SimulatedDatagramSocket& socket);

  // The host's sockets are no more.
  void Crash(SimulatedHostState& host);

 private:
  bool IsTaken(const SimulatedHostState& host, const SocketAddress& local,
               const DatagramOptions& options) const;
  absl::StatusOr<SocketAddress> PlaceFor(SimulatedHostState& host, const SocketAddress& local,
                                         const DatagramOptions& options) const;

  // In simulated_datagram_delivery.cc. An errno, or 0:
  int SendOne(SimulatedDatagramSocket& socket, const OutgoingDatagram& outgoing);
  static int Address(const SimulatedDatagramSocket& socket, const OutgoingDatagram& outgoing,
                     SimulatedDatagram& datagram);
  void SendToGroup(SimulatedDatagramSocket& socket, const SimulatedDatagram& datagram);
  void SendToHost(SimulatedDatagramSocket& socket, SimulatedDatagram datagram);
  void PutUnderWay(SimulatedDatagramSocket& socket, SimulatedHostState& to,
                   SimulatedDatagram datagram);
  void Occupy(SimulatedDatagramSocket& socket, size_t bytes, MonotonicTime until);
  void HaveSent(uint64_t id, size_t bytes);

  // From the socket `sender` of host number `from`.
  void Arrive(uint64_t sender, int from, SimulatedHostState& to, SimulatedDatagram datagram);
  void Take(SimulatedDatagramSocket& socket, SimulatedDatagram datagram);
  void Refuse(uint64_t sender, int from, int to, const SocketAddress& peer);
  void Tell(uint64_t sender, int error, const SocketAddress& peer);

  SimulatedWorld& world_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<SimulatedDatagramSocket>> sockets_;  // in order of opening
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_SIMULATED_DATAGRAMS_H_
