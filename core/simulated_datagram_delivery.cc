// What becomes of a datagram, from its sending to its arrival.
#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/simulated_address.h"
#include "sluice/core/simulated_datagrams.h"
#include "sluice/core/simulated_world.h"

namespace sluice::internal {
namespace {

using Family = SocketAddress::Family;

constexpr size_t kOverhead = 256;  // of a datagram in a receive buffer
constexpr size_t kMostErrors = 64;
constexpr int kUsualTtl = 64;
constexpr absl::Duration kUnreachable = absl::Seconds(3);
constexpr absl::Duration kHeldBack = absl::Milliseconds(1);

// How well a socket suits what arrives; negative: not at all.
int Suits(const SimulatedDatagramSocket& socket, const SimulatedDatagram& datagram) {
  const SocketAddress local = socket.local.Unmapped();
  if (!Overlap(local, socket.options.ipv6_only, datagram.to, false)) return -1;
  const bool is_connected = socket.peer.is_ip();
  if (is_connected && !(socket.peer.Unmapped() == datagram.from)) return -1;
  return (is_connected ? 4 : 0) + (local.is_any() ? 0 : 2) +
         (local.family() == datagram.to.family() ? 1 : 0);
}

bool IsMember(const SimulatedDatagramSocket& socket, const SimulatedDatagram& datagram) {
  const SocketAddress local = socket.local.Unmapped();
  if (!local.is_any() && !(local == datagram.to)) return false;
  if (socket.peer.is_ip() && !(socket.peer.Unmapped() == datagram.from)) return false;
  return std::any_of(socket.groups.begin(), socket.groups.end(), [&](const MulticastGroup& group) {
    return HostOf(group.group) == HostOf(datagram.to) &&
           InterfaceOf(group.interface) == datagram.interface &&
           (!group.source.is_ip() || HostOf(group.source) == HostOf(datagram.from));
  });
}

// FNV-1a: the same on every system.
uint64_t HashOf(const SimulatedDatagram& datagram) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : absl::StrCat(datagram.from.ToString(), " ", datagram.to.ToString()))
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash ^ hash >> 32;
}

// Whose a datagram is that has arrived. Of several that suit it best, the last to be opened, unless
// they share their port: then each sender has one of them.
SimulatedDatagramSocket* ReceiverOf(const SimulatedHostState& host,
                                    const SimulatedDatagram& datagram) {
  const auto it = host.datagram_sockets.find(datagram.to.port());
  if (it == host.datagram_sockets.end()) return nullptr;
  int best = 0;
  std::vector<SimulatedDatagramSocket*> receivers;
  for (SimulatedDatagramSocket* socket : it->second) {
    const int suits = Suits(*socket, datagram);
    if (suits < best) continue;
    if (suits > best) receivers.clear();
    best = suits;
    receivers.push_back(socket);
  }
  if (receivers.empty()) return nullptr;
  if (!receivers.back()->options.reuse_port) return receivers.back();
  return receivers[HashOf(datagram) % receivers.size()];
}

}  // namespace

// Sending.

DatagramsSent SimulatedDatagrams::Send(SimulatedDatagramSocket& socket,
                                       absl::Span<const OutgoingDatagram> datagrams) {
  size_t most = datagrams.size();
  if (world_.Chance(socket.host->options.short_send)) most = 1 + world_.Below(most);
  for (size_t i = 0; i < datagrams.size(); ++i) {
    const size_t size = datagrams[i].bytes.size();
    if (socket.unsent_bytes > 0 && socket.unsent_bytes + size > socket.send_room) {
      socket.send_blocked = true;
      return {i, EAGAIN};
    }
    if (i == most) {
      socket.send_blocked = socket.ready_owed = true;
      socket.poller->QueueIfReady(socket);
      return {i, EAGAIN};
    }
    if (const int error = SendOne(socket, datagrams[i]); error != 0) return {i, error};
  }
  return {datagrams.size(), 0};
}

int SimulatedDatagrams::SendOne(SimulatedDatagramSocket& socket, const OutgoingDatagram& outgoing) {
  SimulatedDatagram datagram;
  if (const int error = Address(socket, outgoing, datagram); error != 0) return error;
  const DatagramOptions& options = socket.options;
  const int usual = options.ttl == 0 ? kUsualTtl : options.ttl;
  datagram.ttl = static_cast<int16_t>(IsMulticast(datagram.to) ? options.multicast_ttl : usual);
  const int8_t ecn = outgoing.options.ecn;
  datagram.ecn = ecn >= 0 ? static_cast<uint8_t>(ecn) : options.tos & 3;
  datagram.bytes.assign(outgoing.bytes.begin(), outgoing.bytes.end());
  if (IsMulticast(datagram.to)) {
    SendToGroup(socket, datagram);
  } else {
    SendToHost(socket, std::move(datagram));
  }
  return 0;
}

// Where from and where to; an errno, or 0.
int SimulatedDatagrams::Address(const SimulatedDatagramSocket& socket,
                                const OutgoingDatagram& outgoing, SimulatedDatagram& datagram) {
  const SocketAddress& peer = outgoing.peer != nullptr ? *outgoing.peer : socket.peer;
  if (outgoing.bytes.size() > kMaxDatagramBytes) return EMSGSIZE;
  if (!peer.is_ip()) return EDESTADDRREQ;
  if (peer.port() == 0) return EINVAL;
  datagram.to = peer.Unmapped();
  if (IsBroadcast(datagram.to)) return EACCES;
  if (datagram.to.family() != socket.local.family()) {
    if (socket.local.family() == Family::kIpv4) return EAFNOSUPPORT;
    if (socket.options.ipv6_only) return ENETUNREACH;
  }
  const std::optional<SocketAddress> source = SourceFor(*socket.host, datagram.to);
  if (!source.has_value()) return ENETUNREACH;
  if (datagram.to.is_any()) datagram.to = source->WithPort(peer.port());
  const bool within = IsLoopback(datagram.to) || socket.host->Has(datagram.to);
  datagram.interface = within ? kLoopbackInterface : kNetworkInterface;
  if (IsMulticast(datagram.to))
    datagram.interface = InterfaceOf(socket.options.multicast_interface);
  datagram.from = *source;
  const SocketAddress* const wanted = outgoing.options.source;
  if (wanted != nullptr && !wanted->is_any()) {
    if (!socket.host->Has(wanted->Unmapped())) return EINVAL;
    datagram.from = wanted->Unmapped();
  } else if (!socket.local.is_any() && !IsMulticast(socket.local)) {
    datagram.from = socket.local.Unmapped();
  }
  if (IsLoopback(datagram.from) && datagram.interface != kLoopbackInterface) return EINVAL;
  datagram.from = datagram.from.WithPort(socket.local.port());
  return 0;
}

void SimulatedDatagrams::SendToGroup(SimulatedDatagramSocket& socket,
                                     const SimulatedDatagram& datagram) {
  const bool stays = datagram.ttl == 0 || datagram.interface == kLoopbackInterface;
  for (SimulatedHostState* host : world_.hosts()) {
    const bool passes = host == socket.host ? socket.options.multicast_loop : !stays;
    if (passes && !host->crashed) PutUnderWay(socket, *host, datagram);
  }
}

void SimulatedDatagrams::SendToHost(SimulatedDatagramSocket& socket, SimulatedDatagram datagram) {
  const bool within = datagram.interface == kLoopbackInterface;
  SimulatedHostState* const to = within ? socket.host : world_.HostAt(datagram.to);
  if (to != nullptr) return PutUnderWay(socket, *to, std::move(datagram));
  world_.At(world_.now() + kUnreachable,
            [this, id = socket.id, peer = datagram.to] { Tell(id, EHOSTUNREACH, peer); });
}

void SimulatedDatagrams::PutUnderWay(SimulatedDatagramSocket& socket, SimulatedHostState& to,
                                     SimulatedDatagram datagram) {
  const int from = socket.host->index;
  SimulatedWorld::Link& link = world_.LinkOf(from, to.index);
  const MonotonicTime departure =
      world_.Depart(link, from == to.index ? 0 : from < to.index, datagram.bytes.size());
  Occupy(socket, datagram.bytes.size(), departure);
  if (link.partitioned || world_.Chance(link.options.loss))
    return world_.Trace("~", socket.id, " loses ", datagram.bytes.size());
  const int copies = world_.Chance(link.options.duplicate) ? 2 : 1;
  if (copies == 2) world_.Trace("~", socket.id, " sends ", datagram.bytes.size(), " twice");
  for (int i = 0; i < copies; ++i) {
    MonotonicTime arrival = departure + link.options.latency + world_.UpTo(link.options.jitter);
    if (world_.Chance(link.options.reorder)) arrival += link.options.latency + kHeldBack;
    auto arrive = [this, id = socket.id, from, &to,
                   copy = i + 1 < copies ? datagram : std::move(datagram)]() mutable {
      Arrive(id, from, to, std::move(copy));
    };
    arrival <= world_.now() ? arrive() : world_.At(arrival, std::move(arrive));
  }
}

// What the link has not passed on yet is in the socket's send buffer.
void SimulatedDatagrams::Occupy(SimulatedDatagramSocket& socket, size_t bytes,
                                MonotonicTime until) {
  if (until <= world_.now()) return;
  socket.unsent_bytes += bytes;
  world_.At(until, [this, id = socket.id, bytes] { HaveSent(id, bytes); });
}

void SimulatedDatagrams::HaveSent(uint64_t id, size_t bytes) {
  SimulatedDatagramSocket* socket = Find(id);
  if (socket == nullptr) return;
  socket->unsent_bytes -= bytes;
  if (!socket->send_blocked || socket->unsent_bytes > socket->send_room / 2) return;
  socket->ready_owed = true;
  socket->poller->QueueIfReady(*socket);
}

// Arriving.

void SimulatedDatagrams::Arrive(uint64_t sender, int from, SimulatedHostState& to,
                                SimulatedDatagram datagram) {
  SimulatedHostState& host = *world_.HostAt(to.addresses.front());  // or its successor
  if (world_.LinkOf(from, to.index).partitioned || host.silent)
    return world_.Trace("~", sender, " loses ", datagram.bytes.size());
  if (!IsMulticast(datagram.to)) {
    SimulatedDatagramSocket* receiver = ReceiverOf(host, datagram);
    if (receiver == nullptr) return Refuse(sender, from, to.index, datagram.to);
    world_.Trace("~", sender, " brings ", datagram.bytes.size(), " to ~", receiver->id);
    return Take(*receiver, std::move(datagram));
  }
  const auto it = host.datagram_sockets.find(datagram.to.port());
  if (it == host.datagram_sockets.end()) return;
  for (SimulatedDatagramSocket* member : it->second) {
    if (!IsMember(*member, datagram)) continue;
    world_.Trace("~", sender, " brings ", datagram.bytes.size(), " to ~", member->id);
    Take(*member, datagram);
  }
}

void SimulatedDatagrams::Take(SimulatedDatagramSocket& socket, SimulatedDatagram datagram) {
  const size_t cost = datagram.bytes.size() + kOverhead;
  if (!socket.unread.empty() && socket.unread_bytes + cost > socket.receive_room) {
    ++socket.dropped;
    return world_.Trace("~", socket.id, " drops ", datagram.bytes.size());
  }
  socket.unread_bytes += cost;
  socket.unread.push_back(std::move(datagram));
  socket.poller->QueueIfReady(socket);
}

SimulatedDatagram SimulatedDatagrams::TakeFirst(SimulatedDatagramSocket& socket) {
  SimulatedDatagram first = std::move(socket.unread.front());
  socket.unread.pop_front();
  socket.unread_bytes -= first.bytes.size() + kOverhead;
  return first;
}

// The port is unreachable: an answer, which may get lost.
void SimulatedDatagrams::Refuse(uint64_t sender, int from, int to, const SocketAddress& peer) {
  const SimulatedWorld::Link& link = world_.LinkOf(from, to);
  world_.Trace("~", sender, " is refused by ", peer.ToString());
  if (world_.Chance(link.options.loss)) return;
  auto tell = [this, sender, from, to, peer] {
    if (!world_.LinkOf(from, to).partitioned) Tell(sender, ECONNREFUSED, peer);
  };
  const absl::Duration time = link.options.latency + world_.UpTo(link.options.jitter);
  time == absl::ZeroDuration() ? tell() : world_.At(world_.now() + time, std::move(tell));
}

void SimulatedDatagrams::Tell(uint64_t sender, int error, const SocketAddress& peer) {
  SimulatedDatagramSocket* socket = Find(sender);
  if (socket == nullptr || socket->errors.size() >= kMostErrors) return;
  socket->errors.emplace_back(error, peer);
  socket->poller->QueueIfReady(*socket);
}

}  // namespace sluice::internal
