#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sluice/core/internal/check.h"
#include "sluice/core/internal/file_queue.h"
#include "sluice/core/internal/system_error.h"
#include "sluice/core/simulated_world.h"

namespace sluice::internal {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int kEphemeralPorts = 16384;
constexpr uint8_t kPoison = 0xdb;
constexpr size_t kReadBytes = 64 * 1024;  // of a file

// Engine's bit in Acceptor::flags.
constexpr uint32_t kPaused = 1;

}  // namespace

SimulatedPoller::~SimulatedPoller() { std::erase(host_.pollers, this); }

size_t SimulatedPoller::Wait(MonotonicTime deadline) {
  SLUICE_CHECK(!host_.crashed);
  if (world_.running() != &host_ || host_.poller != this) host_.run_by_owner = true;
  // In a Step what is due happens between the turns, not inside one.
  if (world_.running() == nullptr) world_.RunDue();
  while (!has_work() && deadline > world_.now()) {
    if (world_.Step(deadline, this)) continue;
    if (deadline == MonotonicTime::InfiniteFuture()) woken_.wait(0, std::memory_order_acquire);
  }
  woken_.store(0, std::memory_order_relaxed);
  const size_t count = DeliverTurn();
  world_.PassTurn();
  return count;
}

void SimulatedPoller::Wake() {
  woken_.store(1, std::memory_order_release);
  woken_.notify_one();
}

// Handles.

int32_t SimulatedPoller::Open(SimulatedConnection& connection, int side) {
  const int32_t handle = next_handle_++;
  Target& target = targets_[handle];
  target.connection = connection.id;
  target.side = side;
  ++host_.descriptors;
  return handle;
}

std::optional<SimulatedPoller::Ends> SimulatedPoller::EndsOf(int32_t handle) {
  const auto it = targets_.find(handle);
  if (it == targets_.end() || it->second.connection == 0) return std::nullopt;
  SimulatedConnection& connection = *world_.Find(it->second.connection);
  const int side = it->second.side;
  return Ends{connection, connection.ends[side], connection.flows[1 - side], side};
}

void SimulatedPoller::Queue(int32_t handle) {
  Target& target = targets_.at(handle);
  if (!std::exchange(target.queued, true)) ready_.push_back(handle);
}

void SimulatedPoller::QueueIfReady(SimulatedEnd& end, const SimulatedFlow& in) {
  if (end.socket == nullptr) return;
  const bool arrived = !in.unread.empty() || (in.end_arrived && !end.end_told);
  if (end.connecting ? end.answered
                     : end.ready_owed || end.error != 0 || (end.receiving && arrived)) {
    Queue(end.handle);
  }
}

void SimulatedPoller::CloseHandle(int32_t handle, bool abort) {
  if (SimulatedDatagramSocket* datagrams = DatagramsOf(handle)) {
    targets_.erase(handle);
    return world_.datagrams().Close(*datagrams);
  }
  const std::optional<Ends> ends = EndsOf(handle);
  if (!ends.has_value()) return;  // the host has crashed
  targets_.erase(handle);
  --host_.descriptors;
  world_.Close(ends->connection, ends->side, abort);
}

// Listening.

absl::Status SimulatedPoller::Listen(Acceptor& acceptor, const SocketAddress& address,
                                     const ListenOptions& options) {
  using ReusePort = ListenOptions::ReusePort;
  if (address.family() == SocketAddress::Family::kNone)
    return absl::InvalidArgumentError("listen: no address is given");
  if (!host_.Has(address)) return SystemError(EADDRNOTAVAIL, "bind", address.ToString());
  SocketAddress bound = address;
  if (address.is_ip() && address.port() == 0) {
    int tries = 0;
    do {
      bound = address.WithPort(host_.NextPort());
    } while (host_.listeners.contains(bound.ToString()) && ++tries < kEphemeralPorts);
  }
  const auto taken = host_.listeners.find(bound.ToString());
  if (taken != host_.listeners.end() &&
      (options.reuse_port != ReusePort::kJoin ||
       taken->second.front()->options.reuse_port == ReusePort::kNo)) {
    return SystemError(EADDRINUSE, "bind", bound.ToString());
  }
  auto queue = std::make_shared<SimulatedListenQueue>();
  queue->address = bound;
  queue->options = options;
  absl::Status status = OpenAcceptor(acceptor, queue);
  if (status.ok()) host_.listeners[bound.ToString()].push_back(std::move(queue));
  return status;
}

absl::Status SimulatedPoller::ListenShared(Acceptor& acceptor, const Acceptor& other) {
  // The other's engine is another one of this host.
  for (SimulatedPoller* poller : host_.pollers) {
    const auto it = poller->targets_.find(handle(other));
    if (it != poller->targets_.end() && it->second.acceptor == &other)
      return OpenAcceptor(acceptor, it->second.queue);
  }
  return SystemError(EBADF, "dup", "listener");
}

absl::Status SimulatedPoller::OpenAcceptor(Acceptor& acceptor,
                                           std::shared_ptr<SimulatedListenQueue> queue) {
  if (host_.descriptors >= host_.options.descriptors)
    return SystemError(EMFILE, "socket", queue->address.ToString());
  ++host_.descriptors;
  handle(acceptor) = next_handle_++;
  queue->acceptors.push_back({this, handle(acceptor)});
  Target& target = targets_[handle(acceptor)];
  target.acceptor = &acceptor;
  target.queue = std::move(queue);
  return absl::OkStatus();
}

void SimulatedPoller::PauseAccepting(Acceptor& acceptor) { flags(acceptor) |= kPaused; }

void SimulatedPoller::ResumeAccepting(Acceptor& acceptor) {
  flags(acceptor) &= ~kPaused;
  const auto it = targets_.find(handle(acceptor));
  if (it != targets_.end() && !it->second.queue->waiting.empty()) Queue(handle(acceptor));
}

void SimulatedPoller::Close(Acceptor& acceptor) {
  const auto it = targets_.find(handle(acceptor));
  if (it != targets_.end()) {
    const std::shared_ptr<SimulatedListenQueue> queue = std::move(it->second.queue);
    targets_.erase(it);
    --host_.descriptors;
    std::erase(queue->acceptors, std::pair(this, handle(acceptor)));
    if (queue->acceptors.empty()) world_.CloseListener(host_, *queue);
  }
  handle(acceptor) = -1;
  flags(acceptor) = 0;
}

SocketAddress SimulatedPoller::LocalAddress(const Acceptor& acceptor) const {
  const auto it = targets_.find(handle(acceptor));
  return it == targets_.end() ? SocketAddress() : it->second.queue->address;
}

// Sockets.

absl::Status SimulatedPoller::Connect(Socket& socket, const SocketAddress& address,
                                      const SocketOptions& options) {
  absl::StatusOr<int32_t> opened = world_.Connect(*this, socket, address, options);
  if (opened.ok()) handle(socket) = *opened;
  return opened.status();
}

void SimulatedPoller::Attach(Socket& socket, Accepted accepted) {
  handle(socket) = accepted.Release();
  if (const auto ends = EndsOf(handle(socket))) {
    ends->mine.socket = &socket;
    QueueIfReady(ends->mine, ends->in);
  }
}

void SimulatedPoller::StartReceiving(Socket& socket) {
  if (SimulatedDatagramSocket* datagrams = DatagramsOf(handle(socket))) {
    datagrams->receiving = true;
    return QueueIfReady(*datagrams);
  }
  const auto ends = EndsOf(handle(socket));
  if (!ends.has_value() || ends->mine.end_told) return;
  ends->mine.receiving = true;
  QueueIfReady(ends->mine, ends->in);
}

void SimulatedPoller::StopReceiving(Socket& socket) {
  if (SimulatedDatagramSocket* datagrams = DatagramsOf(handle(socket)))
    datagrams->receiving = false;
  if (const auto ends = EndsOf(handle(socket))) ends->mine.receiving = false;
}

int SimulatedPoller::Send(Socket& socket, Buffer& queue) {
  const auto ends = EndsOf(handle(socket));
  return ends.has_value() ? world_.Send(ends->connection, ends->side, queue) : EPIPE;
}

// Without a bound for a turn: what a system holds of a connection is one here.
Poller::FileSent SimulatedPoller::SendFile(Socket& socket, int file, uint64_t offset,
                                           size_t length) {
  FileSent sent;
  while (sent.bytes < length) {
    Buffer piece;
    const absl::Span<uint8_t> space =
        piece.Reserve(std::min<size_t>(length - sent.bytes, kReadBytes));
    const size_t wanted = std::min(space.size(), length - sent.bytes);
    const ssize_t read = ReadAt(file, offset + sent.bytes, space.first(wanted));
    if (read <= 0) {
      sent.error = read == 0 ? 0 : errno;
      sent.file_ended = read == 0;
      break;
    }
    piece.Commit(static_cast<size_t>(read));
    sent.error = Send(socket, piece);
    sent.bytes += static_cast<size_t>(read) - piece.size();
    if (sent.error != 0 || !piece.empty()) break;
  }
  return sent;
}

size_t SimulatedPoller::UnacknowledgedBytes(const Socket& socket) const {
  const auto it = targets_.find(handle(socket));
  if (it == targets_.end()) return 0;
  const SimulatedFlow& flow = world_.Find(it->second.connection)->flows[it->second.side];
  return flow.unsent.size() + flow.window_used;
}

void SimulatedPoller::ShutdownSend(Socket& socket) {
  if (const auto ends = EndsOf(handle(socket))) world_.ShutdownSend(ends->connection, ends->side);
}

void SimulatedPoller::Close(Socket& socket, bool abort) {
  CloseHandle(handle(socket), abort);
  handle(socket) = -1;
  flags(socket) = 0;
}

void SimulatedPoller::CloseAccepted(int32_t handle) { CloseHandle(handle, /*abort=*/false); }

SocketAddress SimulatedPoller::LocalAddress(const Socket& socket) const {
  if (const SimulatedDatagramSocket* datagrams = DatagramsOf(handle(socket)))
    return datagrams->local;
  const auto it = targets_.find(handle(socket));
  if (it == targets_.end()) return {};
  return world_.Find(it->second.connection)->ends[it->second.side].local;
}

// A turn. What is looked at is looked up by its handle each time: any event may close anything.

size_t SimulatedPoller::DeliverTurn() {
  std::vector<int32_t> turn = std::exchange(ready_, {});
  world_.Shuffle(turn);
  size_t count = 0;
  for (const int32_t handle : turn) {
    const auto it = targets_.find(handle);
    if (it == targets_.end()) continue;
    it->second.queued = false;
    if (it->second.acceptor != nullptr) {
      count += DeliverAccepts(handle);
    } else {
      count += it->second.datagrams != 0 ? DeliverDatagrams(handle) : Deliver(handle);
    }
  }
  return count;
}

size_t SimulatedPoller::Deliver(int32_t handle) {
  const std::optional<Ends> ends = EndsOf(handle);
  if (ends->mine.connecting) {
    if (!ends->mine.answered) return 0;
    ends->mine.connecting = false;
    const int error = std::exchange(ends->mine.error, 0);
    if (error == 0) QueueIfReady(ends->mine, ends->in);
    ends->mine.socket->OnConnect(error);
    return 1;
  }
  size_t count = 0;
  if (std::exchange(ends->mine.ready_owed, false)) {
    ends->mine.send_blocked = false;
    ++count;
    ends->mine.socket->OnSendReady();
    if (!targets_.contains(handle)) return count;
  }
  return count + DeliverReceive(*ends);
}

size_t SimulatedPoller::DeliverReceive(const Ends& ends) {
  SimulatedEnd& end = ends.mine;
  if (end.receiving && !ends.in.unread.empty()) {
    absl::Span<uint8_t> space(receive_block().storage(), receive_block().capacity());
    if ((flags(*end.socket) & kHasReceiveSpace) != 0) {
      const absl::Span<uint8_t> wanted = end.socket->ReceiveSpace();
      if (!wanted.empty()) space = wanted;
    }
    size_t size = std::min(space.size(), ends.in.unread.size());
    if (world_.Chance(host_.options.short_receive)) size = 1 + world_.Below(size);
    ends.in.unread.CopyTo(space.data(), 0, size);
    ends.in.unread.Drain(size);
    world_.HaveRead(ends.connection, ends.side, size);
    QueueIfReady(end, ends.in);
    end.socket->OnReceive(space.first(size));
    if (space.data() == receive_block().storage()) std::memset(space.data(), kPoison, size);
    return 1;
  }
  if (end.receiving && ends.in.end_arrived && !end.end_told) {
    end.end_told = true;
    end.receiving = false;
    QueueIfReady(end, ends.in);
    end.socket->OnReceiveEnd();
    return 1;
  }
  if (end.error == 0) return 0;
  end.receiving = false;
  end.socket->OnError(std::exchange(end.error, 0));
  return 1;
}

size_t SimulatedPoller::DeliverAccepts(int32_t handle) {
  size_t count = 0;
  while (count < kAcceptsPerTurn) {
    const auto it = targets_.find(handle);
    if (it == targets_.end()) return count;
    Acceptor& acceptor = *it->second.acceptor;
    SimulatedListenQueue& queue = *it->second.queue;
    if ((flags(acceptor) & kPaused) != 0 || queue.waiting.empty()) return count;
    ++count;
    if (host_.descriptors >= host_.options.descriptors) {
      acceptor.OnAcceptError(EMFILE, Shed(queue));
      break;
    }
    SimulatedConnection& connection = *world_.Find(queue.waiting.front());
    queue.waiting.pop_front();
    SimulatedEnd& end = connection.ends[1];
    end.poller = this;
    end.handle = Open(connection, 1);
    acceptor.OnAccept(Accepted(*this, end.handle), connection.ends[0].local);
  }
  const auto it = targets_.find(handle);
  if (it != targets_.end() && !it->second.queue->waiting.empty()) Queue(handle);
  return count;
}

int SimulatedPoller::Shed(SimulatedListenQueue& queue) {
  int shed = 0;
  for (; shed < kAcceptsPerTurn && !queue.waiting.empty(); ++shed) {
    SimulatedConnection& connection = *world_.Find(queue.waiting.front());
    queue.waiting.pop_front();
    world_.Trace(host_.name, " sheds #", connection.id);
    world_.Close(connection, 1, /*abort=*/false);
  }
  return shed;
}

}  // namespace sluice::internal
