// Sockets of datagrams: where they are bound, whom they are connected to, what they have joined.
#include "sluice/core/simulated_datagrams.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"
#include "sluice/core/simulated_address.h"
#include "sluice/core/simulated_world.h"

namespace sluice::internal {
namespace {

using Family = SocketAddress::Family;

constexpr int kEphemeralPorts = 16384;
constexpr size_t kLeastBuffer = 4 * 1024;

absl::Status NoInterface(absl::string_view name) {
  return absl::NotFoundError(
      absl::StrCat("there is no interface \"", name, "\"; each host has lo and eth0"));
}

auto FindGroup(SimulatedDatagramSocket& socket, const MulticastGroup& wanted) {
  return std::find_if(socket.groups.begin(), socket.groups.end(), [&](const MulticastGroup& group) {
    return HostOf(group.group) == HostOf(wanted.group) &&
           InterfaceOf(group.interface) == InterfaceOf(wanted.interface) &&
           HostOf(group.source) == HostOf(wanted.source);
  });
}

}  // namespace

uint32_t InterfaceOf(absl::string_view name) {
  if (name == "lo") return kLoopbackInterface;
  return name.empty() || name == "eth0" ? kNetworkInterface : 0;
}

bool Overlap(const SocketAddress& a, bool a_is_ipv6_only, const SocketAddress& b,
             bool b_is_ipv6_only) {
  if (a.family() == b.family()) return a.is_any() || b.is_any() || a == b;
  const bool ipv6_is_a = a.family() == Family::kIpv6;
  return (ipv6_is_a ? a : b).is_any() && !(ipv6_is_a ? a_is_ipv6_only : b_is_ipv6_only);
}

std::optional<SocketAddress> SourceFor(const SimulatedHostState& host, const SocketAddress& to) {
  if (IsLoopback(to)) {
    return to.family() == Family::kIpv4 ? SocketAddress::Ipv4Loopback(0)
                                        : SocketAddress::Ipv6Loopback(0);
  }
  if (host.Has(to)) return to.WithPort(0);
  for (const SocketAddress& own : host.addresses) {
    if (own.family() == to.family()) return own;
  }
  return std::nullopt;
}

SimulatedDatagramSocket* SimulatedDatagrams::Find(uint64_t id) {
  const auto it = sockets_.find(id);
  return it == sockets_.end() ? nullptr : it->second.get();
}

// Opening and closing.

bool SimulatedDatagrams::IsTaken(const SimulatedHostState& host, const SocketAddress& local,
                                 const DatagramOptions& options) const {
  const auto it = host.datagram_sockets.find(local.port());
  if (it == host.datagram_sockets.end()) return false;
  return std::any_of(it->second.begin(), it->second.end(),
                     [&](const SimulatedDatagramSocket* other) {
                       const bool share = (options.reuse_port && other->options.reuse_port) ||
                                          (options.reuse_address && other->options.reuse_address);
                       return !share && Overlap(local.Unmapped(), options.ipv6_only,
                                                other->local.Unmapped(), other->options.ipv6_only);
                     });
}

absl::StatusOr<SocketAddress> SimulatedDatagrams::PlaceFor(SimulatedHostState& host,
                                                           const SocketAddress& local,
                                                           const DatagramOptions& options) const {
  if (!local.is_ip()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "udp: ", local.ToString(), " is no IP address with a port, as 0.0.0.0:0 and [::]:9000"));
  }
  if (!host.Has(local.Unmapped()) && !IsMulticast(local))
    return SystemError(EADDRNOTAVAIL, "bind", local.ToString());
  SocketAddress place = local;
  for (int tries = 0; tries <= kEphemeralPorts; ++tries) {
    if (local.port() == 0) place = local.WithPort(host.NextPort());
    if (!IsTaken(host, place, options)) return place;
    if (local.port() != 0) break;
  }
  return SystemError(EADDRINUSE, "bind", place.ToString());
}

absl::StatusOr<SimulatedDatagramSocket*> SimulatedDatagrams::Open(SimulatedPoller& poller,
                                                                  Poller::Socket& socket,
                                                                  const SocketAddress& local,
                                                                  const DatagramOptions& options) {
  SimulatedHostState& host = poller.host();
  if (host.descriptors >= host.options.descriptors)
    return SystemError(EMFILE, "socket", local.ToString());
  if (InterfaceOf(options.multicast_interface) == 0)
    return NoInterface(options.multicast_interface);
  const absl::StatusOr<SocketAddress> place = PlaceFor(host, local, options);
  if (!place.ok()) return place.status();
  const auto size = [](int wanted, size_t usual) {
    return std::max(wanted > 0 ? static_cast<size_t>(wanted) : usual, kLeastBuffer);
  };
  auto owned = std::make_unique<SimulatedDatagramSocket>();
  SimulatedDatagramSocket& opened = *owned;
  opened.id = next_id_++;
  opened.host = &host;
  opened.poller = &poller;
  opened.socket = &socket;
  opened.options = options;
  opened.local = *place;
  opened.receive_room = size(options.receive_buffer_bytes, host.options.receive_buffer_bytes);
  opened.send_room = size(options.send_buffer_bytes, host.options.send_buffer_bytes);
  sockets_.emplace(opened.id, std::move(owned));
  host.datagram_sockets[place->port()].push_back(&opened);
  ++host.descriptors;
  world_.Trace("~", opened.id, " ", host.name, " is bound to ", place->ToString());
  return &opened;
}

absl::Status SimulatedDatagrams::Connect(SimulatedDatagramSocket& socket,
                                         const SocketAddress& peer) {
  if (!peer.is_ip()) {
    return absl::InvalidArgumentError(
        absl::StrCat("udp: ", peer.ToString(), " is no IP address with a port"));
  }
  if (peer.Unmapped().family() != socket.local.family() &&
      (socket.local.family() == Family::kIpv4 || socket.options.ipv6_only)) {
    return SystemError(EAFNOSUPPORT, "connect", peer.ToString());
  }
  const std::optional<SocketAddress> source = SourceFor(*socket.host, peer.Unmapped());
  if (!source.has_value()) return SystemError(ENETUNREACH, "connect", peer.ToString());
  socket.peer = peer.is_any() ? source->WithPort(peer.port()) : peer;
  if (!socket.local.is_any()) return absl::OkStatus();
  const bool is_ipv6 = socket.local.family() == Family::kIpv6;
  socket.local = (is_ipv6 ? Mapped(*source) : *source).WithPort(socket.local.port());
  return absl::OkStatus();
}

void SimulatedDatagrams::Close(SimulatedDatagramSocket& socket) {
  SimulatedHostState& host = *socket.host;
  const auto it = host.datagram_sockets.find(socket.local.port());
  std::erase(it->second, &socket);
  if (it->second.empty()) host.datagram_sockets.erase(it);
  --host.descriptors;
  world_.Trace("~", socket.id, " is closed");
  sockets_.erase(socket.id);
}

void SimulatedDatagrams::Crash(SimulatedHostState& host) {
  host.datagram_sockets.clear();
  std::erase_if(sockets_, [&](const auto& entry) { return entry.second->host == &host; });
}

// Groups.

absl::Status SimulatedDatagrams::JoinGroup(SimulatedDatagramSocket& socket,
                                           const MulticastGroup& group) {
  if (InterfaceOf(group.interface) == 0) return NoInterface(group.interface);
  if (!IsMulticast(group.group) || group.group.family() != socket.local.family())
    return SystemError(EINVAL, "join", group.group.ToString());
  if (FindGroup(socket, group) != socket.groups.end())
    return SystemError(EADDRINUSE, "join", group.group.ToString());
  socket.groups.push_back(group);
  world_.Trace("~", socket.id, " joins ", HostOf(group.group).ToString());
  return absl::OkStatus();
}

absl::Status SimulatedDatagrams::LeaveGroup(SimulatedDatagramSocket& socket,
                                            const MulticastGroup& group) {
  const auto it = FindGroup(socket, group);
  if (it == socket.groups.end()) return SystemError(EADDRNOTAVAIL, "leave", group.group.ToString());
  socket.groups.erase(it);
  world_.Trace("~", socket.id, " leaves ", HostOf(group.group).ToString());
  return absl::OkStatus();
}

}  // namespace sluice::internal
