// What TCP does, as far as its users see it.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"
#include "sluice/core/simulated_address.h"
#include "sluice/core/simulated_world.h"

namespace sluice::internal {
namespace {

constexpr size_t kSegmentBytes = 16 * 1024;
constexpr size_t kLeastBuffer = 4 * 1024;
constexpr absl::Duration kRetransmit = absl::Milliseconds(200);
constexpr absl::Duration kLongestRetransmit = absl::Seconds(2);
constexpr int kMostLosses = 6;  // of one segment
// As Linux's: six tries of a connect, and an address for which nobody answers.
constexpr absl::Duration kSynRetransmit = absl::Seconds(1);
constexpr absl::Duration kLongestSynRetransmit = absl::Seconds(64);
constexpr absl::Duration kConnectTimeout = absl::Seconds(127);
constexpr absl::Duration kUnreachable = absl::Seconds(3);

SocketAddress UnnamedUnix() {
  sockaddr address = {};
  address.sa_family = AF_UNIX;
  return SocketAddress::FromSockaddr(&address, sizeof(address.sa_family));
}

}  // namespace

bool SimulatedHostState::Has(const SocketAddress& address) const {
  return IsLoopback(address) ||
         std::find(addresses.begin(), addresses.end(), address.WithPort(0)) != addresses.end();
}

namespace {

SimulatedListenQueue* QueueAt(SimulatedWorld& world, SimulatedHostState& host,
                              const SocketAddress& address) {
  const auto find = [&](const SocketAddress& key) -> SimulatedListenQueue* {
    const auto it = host.listeners.find(key.ToString());
    if (it == host.listeners.end() || it->second.empty()) return nullptr;
    return it->second[world.Below(it->second.size())].get();
  };
  if (SimulatedListenQueue* exact = find(address)) return exact;
  if (!address.is_ip()) return nullptr;
  const bool ipv4 = address.family() == SocketAddress::Family::kIpv4;
  if (ipv4) {
    const SocketAddress any = SocketAddress::Parse("0.0.0.0:0")->WithPort(address.port());
    if (SimulatedListenQueue* queue = find(any)) return queue;
  }
  SimulatedListenQueue* queue = find(SocketAddress::Parse("[::]:0")->WithPort(address.port()));
  return queue != nullptr && ipv4 && queue->options.ipv6_only ? nullptr : queue;
}

// Linux takes one more than the backlog says.
bool IsFull(const SimulatedListenQueue& queue) {
  return queue.waiting.size() > static_cast<size_t>(std::max(queue.options.backlog, 0));
}

// What a Unix connect is told at once; 0: it may be made.
int UnixConnectError(SimulatedWorld& world, SimulatedHostState& host,
                     const SocketAddress& address) {
  const SimulatedListenQueue* queue = QueueAt(world, host, address);
  if (queue == nullptr) return address.path()[0] == '@' ? ECONNREFUSED : ENOENT;
  return IsFull(*queue) ? EAGAIN : 0;
}

// "#3>" is the connection's third, from the end that has connected to the other.
std::string NameOf(const SimulatedConnection& connection, int side) {
  return absl::StrCat("#", connection.id, side == 0 ? ">" : "<");
}

}  // namespace

SimulatedConnection* SimulatedWorld::Find(uint64_t id) {
  const auto it = connections_.find(id);
  return it == connections_.end() ? nullptr : it->second.get();
}

void SimulatedWorld::EraseIfOver(SimulatedConnection& connection) {
  if (!connection.ends[0].open && !connection.ends[1].open) connections_.erase(connection.id);
}

// Connecting.

absl::StatusOr<int32_t> SimulatedWorld::Connect(SimulatedPoller& poller, Poller::Socket& socket,
                                                const SocketAddress& address,
                                                const SocketOptions& options) {
  SimulatedHostState& host = poller.host();
  if (address.family() == SocketAddress::Family::kNone)
    return absl::InvalidArgumentError("connect: no address is given");
  if (host.descriptors >= host.options.descriptors)
    return SystemError(EMFILE, "socket", address.ToString());
  if (!address.is_ip()) {
    if (const int error = UnixConnectError(*this, host, address); error != 0)
      return SystemError(error, "connect", address.ToString());
  }
  const bool within = IsLoopback(address);
  SocketAddress local = address.is_ip() ? address : UnnamedUnix();
  if (!within) {
    const auto own = std::find_if(host.addresses.begin(), host.addresses.end(),
                                  [&](const auto& a) { return a.family() == address.family(); });
    if (own == host.addresses.end()) return SystemError(ENETUNREACH, "connect", address.ToString());
    local = *own;
  }
  if (address.is_ip()) {
    local = local.WithPort(host.NextPort());
  }

  auto owned = std::make_unique<SimulatedConnection>();
  SimulatedConnection& connection = *owned;
  connection.id = next_connection_++;
  connection.target = address;
  connections_.emplace(connection.id, std::move(owned));
  SimulatedEnd& end = connection.ends[0];
  end.host = &host;
  end.poller = &poller;
  end.socket = &socket;
  end.local = local;
  end.open = true;
  end.connecting = true;
  end.handle = poller.Open(connection, 0);
  connection.ends[1].host = within ? &host : HostAt(address);
  SetBuffers(connection, 0, options);
  Trace(NameOf(connection, 0), " ", host.name, " ", local.ToString(), " connects to ",
        address.ToString());
  const int32_t handle = end.handle;
  StartToConnect(connection);
  return handle;
}

void SimulatedWorld::SetBuffers(SimulatedConnection& connection, int side,
                                const SocketOptions& options) {
  const SimulatedHostOptions& host = connection.ends[side].host->options;
  const auto size = [](int wanted, size_t usual) {
    return std::max(wanted > 0 ? static_cast<size_t>(wanted) : usual, kLeastBuffer);
  };
  connection.flows[side].send_room = size(options.send_buffer_bytes, host.send_buffer_bytes);
  connection.flows[1 - side].window = size(options.receive_buffer_bytes, host.receive_buffer_bytes);
}

void SimulatedWorld::StartToConnect(SimulatedConnection& connection) {
  const SimulatedHostState* to = connection.ends[1].host;
  if (to == nullptr) return FailToConnect(connection, EHOSTUNREACH, kUnreachable);
  const SimulatedLink& link = LinkOf(connection.ends[0].host->index, to->index).options;
  if (Chance(link.ignore)) return FailToConnect(connection, ETIMEDOUT, kConnectTimeout);
  if (Chance(link.refuse))
    return FailToConnect(connection, ECONNREFUSED, 2 * link.latency + UpTo(link.jitter));
  const uint64_t id = connection.id;
  Put(connection, 0, Segment::Kind::kSyn);
  Arrive(id, 0);  // where that takes no time
  Arrive(id, 1);
}

void SimulatedWorld::FailToConnect(SimulatedConnection& connection, int error,
                                   absl::Duration after) {
  At(now_ + after, [this, id = connection.id, error] {
    SimulatedConnection* failed = Find(id);
    if (failed != nullptr && !failed->ends[0].answered) Break(*failed, 0, error);
  });
}

void SimulatedWorld::TakeSyn(SimulatedConnection& connection) {
  SimulatedEnd& end = connection.ends[1];
  SimulatedListenQueue* queue = QueueAt(*this, *end.host, connection.target);
  if (queue == nullptr) return Put(connection, 1, Segment::Kind::kRefused);
  end.local = connection.target;
  end.open = true;
  end.vanished = false;  // the machine that it set out for may be, and this be its successor
  SetBuffers(connection, 1, queue->options.socket);
  queue->waiting.push_back(connection.id);
  for (const auto& [poller, handle] : queue->acceptors) poller->Queue(handle);
  Put(connection, 1, Segment::Kind::kSynAck);
}

void SimulatedWorld::CloseListener(SimulatedHostState& host, SimulatedListenQueue& queue) {
  for (const uint64_t id : queue.waiting) {
    if (SimulatedConnection* connection = Find(id)) Close(*connection, 1, /*abort=*/true);
  }
  queue.waiting.clear();
  const auto it = host.listeners.find(queue.address.ToString());
  if (it == host.listeners.end()) return;  // the host has crashed
  std::erase_if(it->second, [&](const auto& other) { return other.get() == &queue; });
  if (it->second.empty()) host.listeners.erase(it);
}

// Sending.

int SimulatedWorld::Send(SimulatedConnection& connection, int side, Buffer& queue) {
  SimulatedEnd& end = connection.ends[side];
  SimulatedFlow& flow = connection.flows[side];
  if (end.dead) return end.error != 0 ? std::exchange(end.error, 0) : EPIPE;
  if (flow.end_wanted) return EPIPE;
  size_t most = std::numeric_limits<size_t>::max();
  if (Chance(end.host->options.short_send)) most = 1 + Below(queue.size());
  while (!queue.empty() && most != 0) {
    const size_t size = std::min({flow.send_room - flow.unsent.size(), queue.size(), most});
    if (size == 0) break;
    Buffer piece = queue.Split(size);
    piece.OwnFrom(*receive_block_);
    flow.unsent.Append(std::move(piece));
    most -= size;
    Launch(connection, side);
  }
  if (queue.empty()) return 0;
  queue.OwnFrom(*receive_block_);
  end.send_blocked = true;
  Launch(connection, side);
  return 0;
}

void SimulatedWorld::ShutdownSend(SimulatedConnection& connection, int side) {
  if (connection.ends[side].dead) return;
  connection.flows[side].end_wanted = true;
  Launch(connection, side);
}

// Sends what the peer's window lets through.
void SimulatedWorld::Launch(SimulatedConnection& connection, int side) {
  SimulatedFlow& flow = connection.flows[side];
  while (!flow.unsent.empty() && flow.window_used < flow.window) {
    const size_t size =
        std::min({flow.unsent.size(), flow.window - flow.window_used, kSegmentBytes});
    flow.window_used += size;
    Put(connection, side, Segment::Kind::kBytes, flow.unsent.Split(size));
  }
  Probe(connection, side);
  if (flow.unsent.empty() && flow.end_wanted && !flow.end_sent) {
    flow.end_sent = true;
    Put(connection, side, Segment::Kind::kEnd);
  }
  SimulatedEnd& end = connection.ends[side];
  const size_t room = flow.send_room - flow.unsent.size();
  if (end.open && end.send_blocked && room >= flow.send_room / 3) {
    end.ready_owed = true;
    end.poller->QueueIfReady(end, connection.flows[1 - side]);
  }
}

// Bytes for which the window is full wait without anything under way. TCP asks from time to time
// whether the peer is still there; here it asks only where no answer is to be expected.
void SimulatedWorld::Probe(SimulatedConnection& connection, int side) {
  SimulatedFlow& flow = connection.flows[side];
  if (flow.unsent.empty() || !flow.under_way.empty()) return;
  if (Partitioned(connection) || connection.ends[1 - side].vanished)
    Put(connection, side, Segment::Kind::kBytes);
}

// Under way.

void SimulatedWorld::Put(SimulatedConnection& connection, int side, Segment::Kind kind,
                         Buffer bytes) {
  const int from = connection.ends[side].host->index;
  const int to = connection.ends[1 - side].host->index;
  Link& link = LinkOf(from, to);
  MonotonicTime arrival = Depart(link, from == to ? side : from < to, bytes.size()) +
                          link.options.latency + UpTo(link.options.jitter);
  absl::Duration again = kRetransmit;
  for (int i = 0; i < kMostLosses && Chance(link.options.loss); ++i, again *= 2) {
    Trace(NameOf(connection, side), " loses a segment");
    arrival += again;
  }
  SimulatedFlow& flow = connection.flows[side];
  flow.last_arrival = std::max(arrival, flow.last_arrival);
  flow.under_way.push_back({kind, flow.last_arrival, std::move(bytes)});
  ScheduleArrival(connection, side);
}

void SimulatedWorld::ScheduleArrival(SimulatedConnection& connection, int side) {
  SimulatedFlow& flow = connection.flows[side];
  if (flow.under_way.empty() || flow.arrival_scheduled) return;
  flow.arrival_scheduled = true;
  At(flow.under_way.front().arrival, [this, id = connection.id, side] {
    SimulatedConnection* arrives = Find(id);
    if (arrives == nullptr) return;
    arrives->flows[side].arrival_scheduled = false;
    Arrive(id, side);
  });
}

void SimulatedWorld::Arrive(uint64_t id, int side) {
  SimulatedConnection* connection;
  while ((connection = Find(id)) != nullptr) {
    SimulatedFlow& flow = connection->flows[side];
    if (flow.under_way.empty()) return;
    if (flow.under_way.front().arrival > now_) return ScheduleArrival(*connection, side);
    if (!GetsThrough(*connection, side)) continue;
    Segment segment = std::move(flow.under_way.front());
    flow.under_way.pop_front();
    flow.tries = 0;
    Take(*connection, side, std::move(segment));
  }
}

bool SimulatedWorld::Joins(const SimulatedConnection& connection, int a, int b) {
  const SimulatedHostState* const hosts[] = {connection.ends[0].host, connection.ends[1].host};
  return hosts[1] != nullptr && std::minmax(hosts[0]->index, hosts[1]->index) == std::minmax(a, b);
}

bool SimulatedWorld::Partitioned(const SimulatedConnection& connection) {
  return LinkOf(connection.ends[0].host->index, connection.ends[1].host->index).partitioned;
}

// If the first segment under way does not, it is moved to later, or the connection ends.
bool SimulatedWorld::GetsThrough(SimulatedConnection& connection, int side) {
  SimulatedFlow& flow = connection.flows[side];
  SimulatedEnd& to = connection.ends[1 - side];
  const Segment::Kind kind = flow.under_way.front().kind;
  if (kind == Segment::Kind::kSyn) {
    SimulatedHostState* host = IsLoopback(connection.target) ? to.host : HostAt(connection.target);
    to.host = host;
    bool answers = !Partitioned(connection) && !host->silent;
    if (answers) {
      const SimulatedListenQueue* queue = QueueAt(*this, *host, connection.target);
      answers = queue == nullptr || !IsFull(*queue);
    }
    if (!answers)
      TryAgainLater(connection, side, kSynRetransmit, kLongestSynRetransmit, kConnectTimeout);
    return answers;
  }
  if (Partitioned(connection)) {
    TryAgainLater(connection, side, kRetransmit, kLongestRetransmit, options_.give_up_after);
    return false;
  }
  if (to.vanished) {
    const SocketAddress& address = side == 0 ? connection.target : connection.ends[0].local;
    const SimulatedHostState* successor = HostAt(address);
    if (successor != nullptr && !successor->crashed) {
      Break(connection, side, ECONNRESET);
    } else {
      TryAgainLater(connection, side, kRetransmit, kLongestRetransmit, options_.give_up_after);
    }
    return false;
  }
  if (kind == Segment::Kind::kBytes) {
    const Link& link = LinkOf(connection.ends[0].host->index, connection.ends[1].host->index);
    if (Chance(link.options.reset)) {
      Trace(NameOf(connection, side), " is reset by the network");
      Break(connection, 0, ECONNRESET);
      Break(connection, 1, ECONNRESET);
      return false;
    }
  }
  return true;
}

void SimulatedWorld::TryAgainLater(SimulatedConnection& connection, int side, absl::Duration first,
                                   absl::Duration most, absl::Duration give_up) {
  SimulatedFlow& flow = connection.flows[side];
  if (flow.tries == 0) flow.first_try = now_;
  if (now_ - flow.first_try >= give_up) return Break(connection, side, ETIMEDOUT);
  const absl::Duration after = std::min(first * (1 << std::min(flow.tries, 16)), most);
  ++flow.tries;
  flow.last_arrival = std::max(flow.last_arrival, now_ + after);
  flow.under_way.front().arrival = now_ + after;
}

// Arriving.

void SimulatedWorld::Take(SimulatedConnection& connection, int from, Segment segment) {
  const int side = 1 - from;
  SimulatedEnd& end = connection.ends[side];
  SimulatedFlow& flow = connection.flows[from];
  switch (segment.kind) {
    case Segment::Kind::kSyn:
      return TakeSyn(connection);
    case Segment::Kind::kSynAck:
      Trace(NameOf(connection, 0), " is connected");
      if (!end.open) return SendReset(connection, side);
      end.answered = true;
      break;
    case Segment::Kind::kRefused:
      Trace(NameOf(connection, 0), " is refused");
      return Break(connection, side, ECONNREFUSED);
    case Segment::Kind::kBytes:
      Trace(NameOf(connection, from), " brings ", segment.bytes.size());
      if (!end.open || end.dead) return SendReset(connection, side);
      flow.unread.Append(std::move(segment.bytes));
      break;
    case Segment::Kind::kEnd:
      Trace(NameOf(connection, from), " ends");
      flow.end_arrived = true;
      break;
    case Segment::Kind::kReset:
      Trace(NameOf(connection, from), " resets");
      return Break(connection, side, flow.end_arrived ? EPIPE : ECONNRESET);
  }
  if (end.poller != nullptr) end.poller->QueueIfReady(end, flow);
}

// What has arrived can be read still.
void SimulatedWorld::Break(SimulatedConnection& connection, int side, int error) {
  SimulatedEnd& end = connection.ends[side];
  SimulatedFlow& out = connection.flows[side];
  out.unsent.Clear();
  out.under_way.clear();
  if (end.dead) return;
  end.dead = true;
  if (end.connecting) end.answered = true;
  end.error = error;
  Trace(NameOf(connection, side), " fails");
  if (end.poller != nullptr) end.poller->QueueIfReady(end, connection.flows[1 - side]);
}

void SimulatedWorld::SendReset(SimulatedConnection& connection, int side) {
  SimulatedEnd& end = connection.ends[side];
  if (std::exchange(end.reset_sent, true)) return;
  end.dead = true;
  connection.flows[side].unsent.Clear();
  connection.flows[1 - side].unread.Clear();
  connection.flows[1 - side].under_way.clear();
  Put(connection, side, Segment::Kind::kReset);
}

void SimulatedWorld::ResetConnections(int a, int b) {
  for (const auto& [id, connection] : connections_) {
    if (!Joins(*connection, a, b) || connection->ends[0].connecting) continue;
    Trace(NameOf(*connection, 0), " is reset by the network");
    Break(*connection, 0, ECONNRESET);
    Break(*connection, 1, ECONNRESET);
  }
}

// Reading.

void SimulatedWorld::HaveRead(SimulatedConnection& connection, int side, size_t bytes) {
  SimulatedFlow& flow = connection.flows[1 - side];
  flow.newly_read += bytes;
  ScheduleWindowUpdate(connection, 1 - side);
}

void SimulatedWorld::ScheduleWindowUpdate(SimulatedConnection& connection, int side) {
  SimulatedFlow& flow = connection.flows[side];
  if (flow.newly_read == 0 || std::exchange(flow.update_under_way, true)) return;
  const Link& link = LinkOf(connection.ends[0].host->index, connection.ends[1].host->index);
  At(now_ + link.options.latency, [this, id = connection.id, side] { UpdateWindow(id, side); });
}

void SimulatedWorld::UpdateWindow(uint64_t id, int side) {
  SimulatedConnection* connection = Find(id);
  if (connection == nullptr) return;
  SimulatedFlow& flow = connection->flows[side];
  flow.update_under_way = false;
  if (Partitioned(*connection)) return;  // until it ends
  flow.window_used -= std::exchange(flow.newly_read, 0);
  if (!connection->ends[side].dead) Launch(*connection, side);
}

// Closing. The system of an end that is closed sends what it has, and answers.

void SimulatedWorld::Close(SimulatedConnection& connection, int side, bool abort) {
  SimulatedEnd& end = connection.ends[side];
  SimulatedFlow& out = connection.flows[side];
  end.open = false;
  end.poller = nullptr;
  end.socket = nullptr;
  if (end.connecting && !end.answered) {
    out.under_way.clear();  // the attempt, if it has not been heard of
  } else if (!end.dead) {
    if (abort || !connection.flows[1 - side].unread.empty()) {
      SendReset(connection, side);
    } else {
      ShutdownSend(connection, side);
    }
  }
  EraseIfOver(connection);
}

}  // namespace sluice::internal
