// What SimulatedPoller, the engine of a simulated loop, does with datagrams.
#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "sluice/core/internal/system_error.h"
#include "sluice/core/simulated_address.h"
#include "sluice/core/simulated_datagrams.h"
#include "sluice/core/simulated_world.h"

namespace sluice::internal {
namespace {

constexpr size_t kMostInATurn = 64;
constexpr uint8_t kPoison = 0xdb;

absl::Status NotOpen() { return SystemError(EBADF, "udp", "the socket"); }

// As the socket sees it.
void Show(const SimulatedDatagramSocket& socket, SocketAddress& address) {
  if (socket.local.family() == SocketAddress::Family::kIpv6) address = Mapped(address);
}

// What is told of a datagram, of which `bytes` is to hold as much as fits.
ReceivedDatagram Lend(const SimulatedDatagramSocket& socket, SimulatedDatagram& datagram,
                      absl::Span<uint8_t> bytes) {
  std::copy_n(datagram.bytes.begin(), bytes.size(), bytes.begin());
  Show(socket, datagram.from);
  Show(socket, datagram.to);
  ReceivedDatagram told;
  told.bytes = bytes;
  told.truncated = bytes.size() < datagram.bytes.size();
  told.peer = &datagram.from;
  if (socket.options.receive_local) {
    told.local = &datagram.to;
    told.interface = datagram.interface;
  }
  if (socket.options.receive_ttl) told.ttl = datagram.ttl;
  if (socket.options.receive_ecn) told.ecn = datagram.ecn;
  return told;
}

}  // namespace

SimulatedDatagramSocket* SimulatedPoller::DatagramsOf(int32_t handle) const {
  const auto it = targets_.find(handle);
  return it == targets_.end() ? nullptr : world_.datagrams().Find(it->second.datagrams);
}

void SimulatedPoller::QueueIfReady(const SimulatedDatagramSocket& socket) {
  if (socket.ready_owed || !socket.errors.empty() || (socket.receiving && !socket.unread.empty()))
    Queue(socket.handle);
}

absl::Status SimulatedPoller::OpenDatagrams(Socket& socket, const SocketAddress& local,
                                            const DatagramOptions& options) {
  absl::StatusOr<SimulatedDatagramSocket*> opened =
      world_.datagrams().Open(*this, socket, local, options);
  if (!opened.ok()) return opened.status();
  (*opened)->handle = handle(socket) = next_handle_++;
  targets_[handle(socket)].datagrams = (*opened)->id;
  return absl::OkStatus();
}

absl::Status SimulatedPoller::ConnectDatagrams(Socket& socket, const SocketAddress& peer) {
  SimulatedDatagramSocket* datagrams = DatagramsOf(handle(socket));
  return datagrams == nullptr ? NotOpen() : world_.datagrams().Connect(*datagrams, peer);
}

DatagramsSent SimulatedPoller::SendDatagrams(Socket& socket,
                                             absl::Span<const OutgoingDatagram> datagrams) {
  SimulatedDatagramSocket* sender = DatagramsOf(handle(socket));
  return sender == nullptr ? DatagramsSent{0, EBADF} : world_.datagrams().Send(*sender, datagrams);
}

absl::Status SimulatedPoller::JoinGroup(Socket& socket, const MulticastGroup& group) {
  SimulatedDatagramSocket* member = DatagramsOf(handle(socket));
  return member == nullptr ? NotOpen() : world_.datagrams().JoinGroup(*member, group);
}

absl::Status SimulatedPoller::LeaveGroup(Socket& socket, const MulticastGroup& group) {
  SimulatedDatagramSocket* member = DatagramsOf(handle(socket));
  return member == nullptr ? NotOpen() : world_.datagrams().LeaveGroup(*member, group);
}

uint64_t SimulatedPoller::DroppedDatagrams(const Socket& socket) const {
  const SimulatedDatagramSocket* receiver = DatagramsOf(handle(socket));
  return receiver == nullptr ? 0 : receiver->dropped;
}

// Any event may close the socket.
size_t SimulatedPoller::DeliverDatagrams(int32_t handle) {
  size_t count = 0;
  SimulatedDatagramSocket* const socket = DatagramsOf(handle);
  if (std::exchange(socket->ready_owed, false)) {
    socket->send_blocked = false;
    ++count;
    socket->socket->OnSendReady();
    if (DatagramsOf(handle) == nullptr) return count;
  }
  // Not more than there are: an answer to an error may cause another.
  for (size_t left = socket->errors.size(); left > 0; --left) {
    auto [error, peer] = std::move(socket->errors.front());
    socket->errors.pop_front();
    Show(*socket, peer);
    ++count;
    socket->socket->OnDatagramError(error, peer);
    if (DatagramsOf(handle) == nullptr) return count;
  }
  if (!socket->receiving || socket->unread.empty()) {
    QueueIfReady(*socket);
    return count;
  }
  DeliverBatch(*socket);
  return count + 1;
}

void SimulatedPoller::DeliverBatch(SimulatedDatagramSocket& socket) {
  absl::Span<uint8_t> space(receive_block().storage(), receive_block().capacity());
  size_t most = std::min(socket.unread.size(), kMostInATurn);
  if (world_.Chance(host_.options.short_receive)) most = 1 + world_.Below(most);
  std::vector<SimulatedDatagram> arrived;
  arrived.reserve(most);  // what is told points into it
  std::vector<ReceivedDatagram> told;
  while (arrived.size() < most) {
    const size_t size =
        std::min(socket.unread.front().bytes.size(), socket.options.max_datagram_bytes);
    if (size > space.size()) break;
    arrived.push_back(world_.datagrams().TakeFirst(socket));
    told.push_back(Lend(socket, arrived.back(), space.first(size)));
    space.remove_prefix(size);
  }
  QueueIfReady(socket);
  socket.socket->OnDatagrams(told);
  std::fill(receive_block().storage(), space.data(), kPoison);
}

}  // namespace sluice::internal
