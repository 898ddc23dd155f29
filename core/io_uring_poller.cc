#include "sluice/core/io_uring_poller.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "sluice/core/buffer.h"
#include "sluice/core/datagram.h"
#include "sluice/core/internal/datagram_ops.h"
#include "sluice/core/internal/datagram_socket.h"
#include "sluice/core/internal/id_table.h"
#include "sluice/core/internal/io_uring_acceptors.h"
#include "sluice/core/internal/io_uring_operations.h"
#include "sluice/core/internal/io_uring_socket.h"
#include "sluice/core/internal/kept_bytes.h"
#include "sluice/core/internal/pipe.h"
#include "sluice/core/internal/provided_buffers.h"
#include "sluice/core/internal/received_buffers.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/system_calls.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

constexpr size_t kCompletionsPerTurn = 512;
// A socket that sends in bursts, which are a quarter of a buffer or more at once, or has memory of
// its own to receive into, is watched instead of given buffers of the pool, and received from by
// recv(2), into that memory or this much, which the loop's sockets share. So a burst cannot empty
// the pool, and its bytes are copied to and sent from memory that the cache still holds, which the
// pool, of which each buffer has its turn, is too large for.
constexpr size_t kBurstBytes = 256 * 1024;
constexpr uint32_t kBurstsOfABuffer = 4;
// It gets buffers of the pool again after this many receives that were no burst.
constexpr uint8_t kReceivesOutsideBurst = 8;

// The kernel cannot do what it is asked to, and nothing can happen before it can.
void PauseForMemory() {
  const timespec pause = {0, 1'000'000};
  nanosleep(&pause, nullptr);
}

class IoUringPoller final : public Poller {
 public:
  IoUringPoller(const IoUringSizes& sizes, UniqueFd wake)
      : sizes_(sizes),
        wake_(std::move(wake)),
        buffers_({sizes.buffers, sizes.buffer_bytes}),
        received_(buffers_),
        acceptors_(operations_, wake_.get()) {
    set_receive_block(buffers_.block());
  }

  absl::Status OpenRing() {
    return operations_.Open({sizes_.submissions, sizes_.completions}, buffers_);
  }

  absl::string_view name() const override { return "io_uring"; }

  MonotonicTime Now() override { return SystemNow(); }
  bool clock_runs() const override { return true; }

  size_t Wait(MonotonicTime deadline) override;
  void Wake() override;

  absl::Status Listen(Acceptor& acceptor, const SocketAddress& address,
                      const ListenOptions& options) override;
  absl::Status ListenShared(Acceptor& acceptor, const Acceptor& other) override;
  void PauseAccepting(Acceptor& acceptor) override { acceptors_.Pause(IndexOf(acceptor)); }
  void ResumeAccepting(Acceptor& acceptor) override { acceptors_.Resume(IndexOf(acceptor)); }
  void Close(Acceptor& acceptor) override;
  SocketAddress LocalAddress(const Acceptor& acceptor) const override {
    return LocalAddressOf(ListenerOf(acceptor));
  }

  absl::Status Connect(Socket& socket, const SocketAddress& address,
                       const SocketOptions& options) override;
  void Attach(Socket& socket, Accepted accepted) override { Add(socket, accepted.Release()); }
  void StartReceiving(Socket& socket) override;
  void StopReceiving(Socket& socket) override;
  int Send(Socket& socket, Buffer& queue) override;
  int SendPipe(Socket& socket, Pipe& pipe) override;
  FileSent SendFile(Socket& socket, int file, uint64_t offset, size_t length) override;
  size_t UnacknowledgedBytes(const Socket& socket) const override {
    return UnacknowledgedBytesOf(FdOf(socket));
  }
  void ShutdownSend(Socket& socket) override { shutdown(EntryOf(socket).fd, SHUT_WR); }
  void Close(Socket& socket, bool abort) override;
  SocketAddress LocalAddress(const Socket& socket) const override {
    return LocalAddressOf(FdOf(socket));
  }

  absl::Status OpenDatagrams(Socket& socket, const SocketAddress& local,
                             const DatagramOptions& options) override;
  absl::Status ConnectDatagrams(Socket& socket, const SocketAddress& peer) override {
    return ConnectDatagramSocket(FdOf(socket), peer);
  }
  DatagramsSent SendDatagrams(Socket& socket,
                              absl::Span<const OutgoingDatagram> datagrams) override;
  absl::Status JoinGroup(Socket& socket, const MulticastGroup& group) override {
    return JoinDatagramGroup(FdOf(socket), group);
  }
  absl::Status LeaveGroup(Socket& socket, const MulticastGroup& group) override {
    return LeaveDatagramGroup(FdOf(socket), group);
  }
  uint64_t DroppedDatagrams(const Socket& socket) const override {
    return DroppedDatagramsOf(FdOf(socket));
  }

 protected:
  void CloseAccepted(int32_t fd) override { close(fd); }

 private:
  // In an acceptor's flags: its descriptor, and whether it gives buffer sizes to its connections.
  static int ListenerOf(const Acceptor& acceptor) { return static_cast<int>(flags(acceptor) >> 1); }
  static bool SetsBufferSizes(const Acceptor& acceptor) { return (flags(acceptor) & 1) != 0; }
  static uint32_t IndexOf(const Acceptor& acceptor) {
    return static_cast<uint32_t>(handle(acceptor));
  }

  int FdOf(const Socket& socket) const {
    return sockets_.At(static_cast<uint32_t>(handle(socket))).fd;
  }
  IoUringSocket& EntryOf(const Socket& socket) {
    return sockets_.At(static_cast<uint32_t>(handle(socket)));
  }
  IoUringSocket& Add(Socket& socket, int fd);
  void Add(Acceptor& acceptor, IoUringAcceptors::Listener listener);

  EntryId IdOf(const Socket& socket) const {
    return sockets_.IdOf(static_cast<uint32_t>(handle(socket)));
  }
  // Lists of what is to be done: before the next wait, and in the next turn.
  void MakeDirty(EntryId id, IoUringSocket& entry) { PutInto(dirty_, entry.dirty, id); }
  void MakeReady(EntryId id, IoUringSocket& entry) { PutInto(ready_, entry.ready, id); }
  static void PutInto(std::vector<EntryId>& list, bool& is_in, EntryId id) {
    if (!is_in) list.push_back(id);
    is_in = true;
  }
  bool AnyReady() const { return !ready_.empty() || acceptors_.any_ready(); }

  void AwaitSendReady(const Socket& socket, IoUringSocket& entry) {
    entry.send_blocked = true;
    MakeDirty(IdOf(socket), entry);
  }

  // Submissions. Each returns false when the queue is full.
  bool Submit();
  bool SubmitWake();
  bool SubmitHungry();
  bool SubmitDirty();

  bool ChangeThread();

  // Completions.
  size_t TakeCompletions() {
    return operations_.TakeCompletions(
        kCompletionsPerTurn, [this](IoUringOperation operation, EntryId id,
                                    const io_uring_cqe& cqe) { Take(operation, id, cqe); });
  }
  void Take(IoUringOperation operation, EntryId id, const io_uring_cqe& cqe);
  void TakeReceived(EntryId id, const io_uring_cqe& cqe);
  void TakeEndOfReceive(EntryId id, IoUringSocket& entry, int result);
  void TakeReadable(EntryId id, const io_uring_cqe& cqe);
  void TakeWritable(EntryId id, const io_uring_cqe& cqe);
  void TakeHangUp(EntryId id, const io_uring_cqe& cqe);
  bool IsBurst(size_t size) const;
  void Burst(EntryId id, IoUringSocket& entry);
  void KeepReceived(IoUringSocket& entry);

  // Events. What an event may have ended is looked up anew after it.
  size_t HandleSocket(EntryId id);
  size_t HandleConnect(EntryId id, IoUringSocket& entry);
  IoUringSocket* HandleWritable(EntryId id, IoUringSocket& entry, size_t& events);
  size_t HandleDatagramSocket(EntryId id);
  size_t HandleDatagrams(EntryId id, IoUringSocket& entry);
  bool Deliver(EntryId id, IoUringSocket& entry);
  absl::Span<uint8_t> ReceiveSpaceOf(Socket& socket);
  bool DeliverBurst(EntryId id, IoUringSocket& entry);
  bool DeliverPipe(IoUringSocket& entry, PipePtr pipe);
  bool ReceivedNone(EntryId id, IoUringSocket& entry, int error);
  void DeliverKept(IoUringSocket& entry);
  void DeliverReceived(IoUringSocket& entry);
  void DeliverCopy(IoUringSocket& entry, absl::Span<uint8_t> space);

  const IoUringSizes sizes_;
  UniqueFd wake_;
  ProvidedBuffers buffers_;
  ReceivedBuffers received_;
  BlockPtr burst_block_;  // from the first burst on
  PipePool pipes_;
  DatagramOps datagram_ops_{DatagramOps::Calls::kBatched};
  IoUringOperations operations_;
  IoUringAcceptors acceptors_;

  IdTable<IoUringSocket> sockets_;
  std::vector<EntryId> dirty_, ready_, turn_;
  std::deque<EntryId> hungry_;  // want to receive and found the pool dry
  bool wake_armed_ = false;
  bool woken_ = false;
};

// Turns.

size_t IoUringPoller::Wait(MonotonicTime deadline) {
  woken_ = false;
  for (;;) {
    const bool all = Submit();
    const bool look = !all || !hungry_.empty() || AnyReady() || deadline <= MonotonicTime();
    const int error = operations_.Enter(look ? MonotonicTime() : deadline);
    if (ABSL_PREDICT_FALSE(error == EEXIST)) {
      if (!ChangeThread()) return 0;
      continue;
    }
    const size_t taken = TakeCompletions();
    if (ABSL_PREDICT_FALSE(!all || !operations_.handed_over())) {
      if (error == EAGAIN && taken == 0) PauseForMemory();
      continue;
    }
    if (AnyReady() || woken_ || error != 0) break;
    // What came was of no concern to anybody. Sockets that are still hungry find buffers now, or
    // one would be ready that has them.
    if (hungry_.empty() && (look || Now() >= deadline)) break;
  }
  size_t events = woken_ ? 1 : 0;
  turn_.swap(ready_);
  for (const EntryId id : turn_) events += HandleSocket(id);
  turn_.clear();
  if (acceptors_.any_ready()) events += acceptors_.Handle(*this);
  return events;
}

// The kernel lets one thread only use a ring, and the loop has moved to another. What is under way
// in the old ring ends with it. Receiving happens inside Enter only, so that what the old ring has
// received is among its completions, but for those that did not fit (IoUringSizes::completions).
bool IoUringPoller::ChangeThread() {
  while (TakeCompletions() != 0) {
  }
  if (!OpenRing().ok()) {
    // For want of descriptors or memory, as a rule: the next turn tries again.
    PauseForMemory();
    return false;
  }
  wake_armed_ = false;
  hungry_.clear();
  sockets_.ForEach([this](EntryId id, IoUringSocket& entry) {
    entry.ForgetOperations();
    MakeDirty(id, entry);
  });
  acceptors_.ForgetOperations();
  return true;
}

void IoUringPoller::Wake() {
  const uint64_t one = 1;
  const int saved = errno;  // a signal handler may be the caller
  [[maybe_unused]] const ssize_t n = write(wake_.get(), &one, sizeof(one));
  errno = saved;
}

// Submissions.

// Writes down everything that has become due since the last turn. False when the queue is full:
// what is left waits for the next call.
bool IoUringPoller::Submit() {
  buffers_.Publish();
  return operations_.SubmitCancels() && (wake_armed_ || SubmitWake()) && SubmitDirty() &&
         acceptors_.Submit() && SubmitHungry();
}

bool IoUringPoller::SubmitDirty() {
  while (!dirty_.empty()) {
    IoUringSocket* const entry = sockets_.Find(dirty_.back());
    if (entry != nullptr) {
      if (!entry->Submit(operations_, dirty_.back())) return false;
      entry->dirty = false;
    }
    dirty_.pop_back();
  }
  return true;
}

// The kernel reports each write to the eventfd; nobody has to read it, for its count is of no
// concern.
bool IoUringPoller::SubmitWake() {
  wake_armed_ = operations_.Watch(IoUringOperation::kWake, EntryId{0, 0}, wake_.get(), POLLIN,
                                  IoUringOperations::Shots::kMany);
  return wake_armed_;
}

// Those that found the pool dry try again when there are buffers, no more of them than those.
bool IoUringPoller::SubmitHungry() {
  for (size_t n = buffers_.available(); n > 0 && !hungry_.empty(); --n) {
    IoUringSocket* const entry = sockets_.Find(hungry_.front());
    if (entry != nullptr && !entry->Submit(operations_, hungry_.front())) return false;
    hungry_.pop_front();
  }
  return true;
}

// Completions.

void IoUringPoller::Take(IoUringOperation operation, EntryId id, const io_uring_cqe& cqe) {
  switch (operation) {
    case IoUringOperation::kReceive:
      return TakeReceived(id, cqe);
    case IoUringOperation::kReadable:
      return TakeReadable(id, cqe);
    case IoUringOperation::kWritable:
      return TakeWritable(id, cqe);
    case IoUringOperation::kHangUp:
      return TakeHangUp(id, cqe);
    case IoUringOperation::kAcceptable:
      return acceptors_.TakeAcceptable(id, cqe.res);
    case IoUringOperation::kWake:
      woken_ = woken_ || cqe.res > 0;
      wake_armed_ = wake_armed_ && (cqe.flags & IORING_CQE_F_MORE) != 0;
      return;
    case IoUringOperation::kCancel:  // of what had ended by itself
      return;
  }
}

void IoUringPoller::TakeReceived(EntryId id, const io_uring_cqe& cqe) {
  IoUringSocket* const entry = sockets_.Find(id);
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    const uint16_t buffer = static_cast<uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    buffers_.Take(buffer);
    if (ABSL_PREDICT_FALSE(entry == nullptr || cqe.res <= 0)) {
      buffers_.Give(buffer);
    } else if (ABSL_PREDICT_FALSE(!entry->receives)) {
      const size_t size = static_cast<size_t>(cqe.res);
      std::memcpy(KeptBytes::Extend(entry->kept, size), buffers_.data(buffer), size);
      buffers_.Give(buffer);
    } else {
      const uint32_t size = static_cast<uint32_t>(cqe.res);
      received_.Append(entry->received, buffer, size);
      if (IsBurst(size)) Burst(id, *entry);
      MakeReady(id, *entry);
    }
  }
  if (entry != nullptr && (cqe.flags & IORING_CQE_F_MORE) == 0)
    TakeEndOfReceive(id, *entry, cqe.res);
}

// A receive has left the kernel.
void IoUringPoller::TakeEndOfReceive(EntryId id, IoUringSocket& entry, int result) {
  entry.receive_armed = entry.receive_cancelled = false;
  if (result == -ENOBUFS && !entry.bursts) {
    hungry_.push_back(id);
    return;
  }
  if (result > 0 || result == -ECANCELED || result == -ENOBUFS || result == -EINTR ||
      result == -EAGAIN) {
    return MakeDirty(id, entry);
  }
  entry.ended = true;
  entry.end_pending = result == 0;
  entry.error = -result;
  if (entry.receives) MakeReady(id, entry);
}

void IoUringPoller::TakeReadable(EntryId id, const io_uring_cqe& cqe) {
  IoUringSocket* const entry = sockets_.Find(id);
  if (entry == nullptr) return;
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) {
    entry->readable_armed = entry->readable_cancelled = false;
    MakeDirty(id, *entry);
  }
  if (cqe.res == -ECANCELED || entry->ended) return;
  entry->readable = true;
  entry->more_behind =
      entry->more_behind || (cqe.res & (POLLPRI | POLLRDHUP | POLLHUP | POLLERR)) != 0;
  entry->failed = entry->datagrams && (entry->failed || (cqe.res & POLLERR) != 0);
  if (entry->receives || entry->failed) MakeReady(id, *entry);
}

void IoUringPoller::TakeWritable(EntryId id, const io_uring_cqe& cqe) {
  IoUringSocket* const entry = sockets_.Find(id);
  if (entry == nullptr) return;
  entry->writable_armed = false;
  if (cqe.res == -ECANCELED) return MakeDirty(id, *entry);
  entry->writable = true;
  if (cqe.res < 0) entry->error = -cqe.res;
  MakeReady(id, *entry);
}

void IoUringPoller::TakeHangUp(EntryId id, const io_uring_cqe& cqe) {
  IoUringSocket* const entry = sockets_.Find(id);
  if (entry == nullptr) return;
  entry->hang_up_armed = false;
  if (cqe.res == -ECANCELED) return MakeDirty(id, *entry);
  if (entry->datagrams) {
    entry->failed = true;
    MakeDirty(id, *entry);
    return MakeReady(id, *entry);
  }
  // A receive that is under way tells by itself; an end without an error waits until it is read.
  if (entry->receives || entry->ended) return;
  entry->hung_up = true;
  entry->error = PendingError(entry->fd);
  if (entry->error == 0) return;
  entry->ended = true;
  MakeReady(id, *entry);
}

bool IoUringPoller::IsBurst(size_t size) const {
  return size >= sizes_.buffer_bytes / kBurstsOfABuffer;
}

void IoUringPoller::Burst(EntryId id, IoUringSocket& entry) {
  if (entry.bursts) return;
  entry.bursts = true;
  entry.small_receives = 0;
  MakeDirty(id, entry);
}

// Events.

size_t IoUringPoller::HandleSocket(EntryId id) {
  IoUringSocket* entry = sockets_.Find(id);
  if (entry == nullptr) return 0;
  entry->ready = false;
  if (ABSL_PREDICT_FALSE(entry->connects || entry->datagrams)) {
    if (entry->datagrams) return HandleDatagramSocket(id);
    return entry->writable ? HandleConnect(id, *entry) : 0;
  }
  size_t events = 0;
  if (ABSL_PREDICT_FALSE(entry->writable)) {
    entry = HandleWritable(id, *entry, events);
    if (entry == nullptr) return events;
  }
  if (Deliver(id, *entry)) {
    ++events;
    entry = sockets_.Find(id);
    if (entry == nullptr) return events;
  }
  if (entry->receives) {
    if (ABSL_PREDICT_FALSE(!entry->received.empty() || entry->kept != nullptr || entry->readable)) {
      MakeReady(id, *entry);
      return events;
    }
    if (ABSL_PREDICT_FALSE(entry->end_pending)) {
      entry->end_pending = false;
      entry->socket->OnReceiveEnd();
      return events + 1;
    }
  } else if (!entry->hung_up) {
    return events;
  }
  if (ABSL_PREDICT_FALSE(entry->error != 0)) {
    entry->socket->OnError(std::exchange(entry->error, 0));
    ++events;
  }
  return events;
}

// Returns the entry, where it is now; null when it was closed.
IoUringSocket* IoUringPoller::HandleWritable(EntryId id, IoUringSocket& entry, size_t& events) {
  entry.writable = false;
  if (!entry.send_blocked) return &entry;
  entry.send_blocked = false;
  entry.socket->OnSendReady();
  ++events;
  return sockets_.Find(id);
}

size_t IoUringPoller::HandleConnect(EntryId id, IoUringSocket& entry) {
  entry.writable = false;
  entry.connects = false;
  const int error = entry.error != 0 ? std::exchange(entry.error, 0) : PendingError(entry.fd);
  if (error == 0) MakeDirty(id, entry);
  entry.socket->OnConnect(error);
  return 1;
}

// Delivers some of what was received, if there is anything and it is wanted.
bool IoUringPoller::Deliver(EntryId id, IoUringSocket& entry) {
  if (!entry.receives) return false;
  if (ABSL_PREDICT_FALSE(entry.kept != nullptr)) {
    DeliverKept(entry);
    return true;
  }
  if (entry.received.empty()) return entry.readable && DeliverBurst(id, entry);
  if (ABSL_PREDICT_TRUE((flags(*entry.socket) & (kHasReceiveSpace | kReceivesPipes)) == 0)) {
    DeliverReceived(entry);
    return true;
  }
  Burst(id, entry);  // what follows goes there without a copy
  if (const absl::Span<uint8_t> space = ReceiveSpaceOf(*entry.socket); !space.empty()) {
    DeliverCopy(entry, space);
  } else {
    DeliverReceived(entry);
  }
  return true;
}

absl::Span<uint8_t> IoUringPoller::ReceiveSpaceOf(Socket& socket) {
  if (ABSL_PREDICT_TRUE((flags(socket) & kHasReceiveSpace) == 0)) return {};
  return socket.ReceiveSpace();
}

// False when there was nothing after all, or an end or an error, which is then to be reported.
bool IoUringPoller::DeliverBurst(EntryId id, IoUringSocket& entry) {
  entry.readable = false;
  if (ABSL_PREDICT_FALSE(!entry.readable_armed)) MakeDirty(id, entry);
  if (ABSL_PREDICT_FALSE((flags(*entry.socket) & kReceivesPipes) != 0)) {
    int error;
    if (PipePtr pipe = ReceivePipe(entry.fd, pipes_, error); pipe != nullptr)
      return DeliverPipe(entry, std::move(pipe));
    if (error != 0) return ReceivedNone(id, entry, error);
  }
  absl::Span<uint8_t> space = ReceiveSpaceOf(*entry.socket);
  const bool own = !space.empty();
  if (!own) {
    if (burst_block_ == nullptr) burst_block_.reset(Block::NewExact(kBurstBytes));
    space = {burst_block_->storage(), kBurstBytes};
  }
  const ssize_t n = SystemReceive(entry.fd, space.data(), space.size());
  if (ABSL_PREDICT_FALSE(n <= 0)) return ReceivedNone(id, entry, n == 0 ? 0 : errno);
  const size_t size = static_cast<size_t>(n);
  // The watch tells what arrives, and not what is there yet.
  if (size == space.size() || entry.more_behind) entry.readable = true;
  if (own || IsBurst(size)) {
    entry.small_receives = 0;
  } else if (++entry.small_receives == kReceivesOutsideBurst) {
    entry.bursts = false;
    MakeDirty(id, entry);
  }
  if (!own) set_receive_block(*burst_block_);
  entry.socket->OnReceive(space.first(size));
  set_receive_block(buffers_.block());
  return true;
}

// A pipe may be full before it holds as many bytes as it has room for.
bool IoUringPoller::DeliverPipe(IoUringSocket& entry, PipePtr pipe) {
  entry.readable = true;
  entry.small_receives = 0;
  entry.socket->OnReceivePipe(std::move(pipe));
  return true;
}

bool IoUringPoller::ReceivedNone(EntryId id, IoUringSocket& entry, int error) {
  if (error == EAGAIN) return false;
  if (error == EINTR) {
    entry.readable = true;
    return false;
  }
  MakeDirty(id, entry);
  entry.ended = true;
  entry.end_pending = error == 0;
  entry.error = error;
  return false;
}

// Into the socket's own space, as much as fits.
void IoUringPoller::DeliverCopy(IoUringSocket& entry, absl::Span<uint8_t> space) {
  entry.socket->OnReceive(space.first(received_.Copy(entry.received, space)));
}

// Lends what lies in one piece.
void IoUringPoller::DeliverReceived(IoUringSocket& entry) {
  const ReceivedBuffers::Run run = received_.TakeRun(entry.received);
  entry.socket->OnReceive(run.bytes);
  received_.Give(run);
}

void IoUringPoller::DeliverKept(IoUringSocket& entry) {
  std::unique_ptr<KeptBytes> kept = std::move(entry.kept);
  const absl::Span<uint8_t> bytes = kept->bytes();
  const absl::Span<uint8_t> space = ReceiveSpaceOf(*entry.socket);
  if (!space.empty()) {
    const size_t n = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), n);
    if (n < bytes.size()) {
      kept->RemovePrefix(n);
      entry.kept = std::move(kept);
    }
    return entry.socket->OnReceive(space.first(n));
  }
  set_receive_block(kept->block());
  entry.socket->OnReceive(bytes);
  set_receive_block(buffers_.block());
}

// Sockets.

IoUringSocket& IoUringPoller::Add(Socket& socket, int fd) {
  const EntryId id = sockets_.Add();
  handle(socket) = static_cast<int32_t>(id.index);
  IoUringSocket& entry = sockets_.At(id.index);
  entry.socket = &socket;
  entry.fd = fd;
  return entry;
}

absl::Status IoUringPoller::Connect(Socket& socket, const SocketAddress& address,
                                    const SocketOptions& options) {
  absl::StatusOr<UniqueFd> fd = StartConnect(address, options);
  if (!fd.ok()) return fd.status();
  IoUringSocket& entry = Add(socket, fd->Release());
  entry.connects = true;
  MakeDirty(IdOf(socket), entry);
  return absl::OkStatus();
}

void IoUringPoller::StartReceiving(Socket& socket) {
  IoUringSocket& entry = EntryOf(socket);
  if (entry.receives) return;
  entry.receives = true;
  if (entry.kept != nullptr || entry.readable || entry.end_pending || entry.error != 0)
    MakeReady(IdOf(socket), entry);
  MakeDirty(IdOf(socket), entry);
}

void IoUringPoller::StopReceiving(Socket& socket) {
  IoUringSocket& entry = EntryOf(socket);
  if (!entry.receives) return;
  entry.receives = false;
  KeepReceived(entry);
  MakeDirty(IdOf(socket), entry);
}

// A socket that has stopped holds none of the pool's buffers.
void IoUringPoller::KeepReceived(IoUringSocket& entry) {
  const size_t size = received_.BytesIn(entry.received);
  if (size != 0) received_.Copy(entry.received, {KeptBytes::Extend(entry.kept, size), size});
}

int IoUringPoller::Send(Socket& socket, Buffer& queue) {
  IoUringSocket& entry = EntryOf(socket);
  const int error = SendQueue(entry.fd, queue, receive_block());
  if (ABSL_PREDICT_FALSE(error != 0)) return error;
  if (ABSL_PREDICT_FALSE(!queue.empty())) AwaitSendReady(socket, entry);
  return 0;
}

int IoUringPoller::SendPipe(Socket& socket, Pipe& pipe) {
  IoUringSocket& entry = EntryOf(socket);
  const int error = SendFromPipe(entry.fd, pipes_, pipe);
  if (error == 0 && pipe.size() != 0) AwaitSendReady(socket, entry);
  return error;
}

Poller::FileSent IoUringPoller::SendFile(Socket& socket, int file, uint64_t offset, size_t length) {
  IoUringSocket& entry = EntryOf(socket);
  const FileSent sent = SendFilePart(entry.fd, file, offset, length);
  if (sent.error == 0 && !sent.file_ended && sent.bytes < length) AwaitSendReady(socket, entry);
  return sent;
}

void IoUringPoller::Close(Socket& socket, bool abort) {
  if (handle(socket) < 0) return;
  const EntryId id = IdOf(socket);
  IoUringSocket& entry = EntryOf(socket);
  received_.Drop(entry.received);
  entry.End(operations_, id, abort);
  if (ABSL_PREDICT_FALSE(entry.datagrams)) {
    datagram_ops_.Forget(entry.fd);
    operations_.HandOverCancels();  // a watch keeps the port, too, which others may want at once
  }
  close(entry.fd);
  sockets_.Remove(id.index);
  handle(socket) = -1;
  flags(socket) = 0;
}

// Datagrams. A watch, and recvmmsg(2) when it fires: io_uring_poller.h says why.

absl::Status IoUringPoller::OpenDatagrams(Socket& socket, const SocketAddress& local,
                                          const DatagramOptions& options) {
  absl::StatusOr<UniqueFd> fd = OpenDatagramSocket(local, options);
  if (!fd.ok()) return fd.status();
  datagram_ops_.Add(fd->get(), options);
  IoUringSocket& entry = Add(socket, fd->Release());
  entry.datagrams = entry.bursts = true;
  MakeDirty(IdOf(socket), entry);
  return absl::OkStatus();
}

DatagramsSent IoUringPoller::SendDatagrams(Socket& socket,
                                           absl::Span<const OutgoingDatagram> datagrams) {
  IoUringSocket& entry = EntryOf(socket);
  const DatagramsSent sent = datagram_ops_.Send(entry.fd, datagrams);
  if (ABSL_PREDICT_FALSE(sent.error == EAGAIN)) AwaitSendReady(socket, entry);
  return sent;
}

size_t IoUringPoller::HandleDatagramSocket(EntryId id) {
  IoUringSocket* entry = sockets_.Find(id);
  size_t events = 0;
  if (entry->failed) {
    entry->failed = false;
    const int told = TellDatagramErrors(entry->fd, *entry->socket, std::exchange(entry->error, 0),
                                        [&] { return sockets_.Find(id) != nullptr; });
    events += static_cast<size_t>(told);
    entry = sockets_.Find(id);
    if (entry == nullptr) return events;
    if (told == kDatagramErrorsPerTurn) {
      entry->failed = true;
      MakeReady(id, *entry);
    }
  }
  if (entry->writable) {
    entry = HandleWritable(id, *entry, events);
    if (entry == nullptr) return events;
  }
  return events + (entry->receives && entry->readable ? HandleDatagrams(id, *entry) : 0);
}

// The watch tells what arrives, and not what is there yet.
size_t IoUringPoller::HandleDatagrams(EntryId id, IoUringSocket& entry) {
  int error = 0;
  const absl::Span<const ReceivedDatagram> datagrams = datagram_ops_.Receive(entry.fd, error);
  entry.readable = error != EAGAIN;
  if (ABSL_PREDICT_FALSE(error != 0 && error != EAGAIN && error != EINTR)) {
    entry.failed = true;
    entry.error = error;
  }
  if (entry.readable) MakeReady(id, entry);
  if (!entry.readable_armed) MakeDirty(id, entry);
  if (datagrams.empty()) return 0;
  entry.socket->OnDatagrams(datagrams);
  return 1;
}

// Acceptors.

void IoUringPoller::Add(Acceptor& acceptor, IoUringAcceptors::Listener listener) {
  flags(acceptor) =
      static_cast<uint32_t>(listener.fd.get()) << 1 | (listener.sets_buffer_sizes ? 1 : 0);
  handle(acceptor) = static_cast<int32_t>(acceptors_.Add(acceptor, std::move(listener)));
}

absl::Status IoUringPoller::Listen(Acceptor& acceptor, const SocketAddress& address,
                                   const ListenOptions& options) {
  absl::StatusOr<UniqueFd> fd = OpenListener(address, options);
  if (!fd.ok()) return fd.status();
  const bool sets_buffer_sizes = !address.is_ip() && (options.socket.send_buffer_bytes != 0 ||
                                                      options.socket.receive_buffer_bytes != 0);
  UnixPath path(LocalAddressOf(fd->get()));
  Add(acceptor, {*std::move(fd), sets_buffer_sizes, /*is_duplicate=*/false, std::move(path)});
  return absl::OkStatus();
}

// The other's poller, of another thread, may be changing its table: only what the acceptor itself
// holds may be read of it.
absl::Status IoUringPoller::ListenShared(Acceptor& acceptor, const Acceptor& other) {
  UniqueFd fd(fcntl(ListenerOf(other), F_DUPFD_CLOEXEC, 0));
  if (!fd.ok()) return SystemError(errno, "dup", LocalAddress(other).ToString());
  Add(acceptor, {std::move(fd), SetsBufferSizes(other), /*is_duplicate=*/true});
  return absl::OkStatus();
}

void IoUringPoller::Close(Acceptor& acceptor) {
  if (handle(acceptor) < 0) return;
  acceptors_.Close(IndexOf(acceptor));
  handle(acceptor) = -1;
  flags(acceptor) = 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Poller>> MakeIoUringPoller(const IoUringSizes& sizes) {
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.ok()) return SystemError(errno, "eventfd", "io_uring");
  auto poller = std::make_unique<IoUringPoller>(sizes, std::move(wake));
  if (absl::Status status = poller->OpenRing(); !status.ok()) return status;
  return poller;
}

}  // namespace sluice::internal
