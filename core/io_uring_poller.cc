#include "sluice/core/io_uring_poller.h"

#include <fcntl.h>
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
#include "sluice/core/internal/io_uring_ring.h"
#include "sluice/core/internal/pipe.h"
#include "sluice/core/internal/provided_buffers.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

constexpr size_t kCompletionsPerTurn = 512;
constexpr uint16_t kNoBuffer = UINT16_MAX;
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

// What a completion is of: in the upper byte of its user_data, above the generation (24 bits) and
// the index (32) of what it belongs to.
enum class Operation : uint8_t {
  kReceive,
  kReadable,
  kWritable,
  kHangUp,
  kAcceptable,
  kWake,
  kCancel
};

// Names an entry of a table for as long as it is the same one: a completion or a turn that comes
// late finds nothing, or nobody else.
struct Id {
  uint32_t index;
  uint32_t generation;

  uint64_t Tag(Operation operation) const {
    return static_cast<uint64_t>(operation) << 56 | uint64_t{generation} << 32 | index;
  }
  static Id Of(uint64_t tag) {
    return {static_cast<uint32_t>(tag), static_cast<uint32_t>(tag >> 32) & 0xFFFFFF};
  }
};

template <typename Entry>
class Table {
 public:
  Id Add() {
    if (free_.empty()) {
      entries_.emplace_back();
      free_.push_back(static_cast<uint32_t>(entries_.size() - 1));
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    entries_[index].used = true;
    return IdOf(index);
  }
  void Remove(uint32_t index) {
    const uint32_t next = (entries_[index].generation + 1) & 0xFFFFFF;
    entries_[index] = Entry();
    entries_[index].generation = next;
    free_.push_back(index);
  }
  // Valid until the next Add. Null once it was removed.
  Entry* Find(Id id) {
    Entry& entry = entries_[id.index];
    return entry.used && entry.generation == id.generation ? &entry : nullptr;
  }
  Entry& At(uint32_t index) { return entries_[index]; }
  const Entry& At(uint32_t index) const { return entries_[index]; }
  Id IdOf(uint32_t index) const { return {index, entries_[index].generation}; }
  template <typename Visit>
  void ForEach(Visit visit) {
    for (uint32_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].used) visit(IdOf(i), entries_[i]);
    }
  }

 private:
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
};

// What was received for a socket that had stopped.
struct Kept {
  BlockPtr block;
  size_t begin;
  size_t end;
};

struct SocketEntry {
  Poller::Socket* socket = nullptr;
  int fd = -1;
  uint32_t generation = 0;
  bool used = false;
  // What the owner has asked for.
  bool receives : 1 = false;
  bool connects : 1 = false;
  bool send_blocked : 1 = false;
  bool datagrams : 1 = false;  // which are received as bursts are
  // See kBurstBytes.
  bool bursts : 1 = false;
  uint8_t small_receives = 0;
  // What is in the kernel.
  bool receive_armed : 1 = false;
  bool receive_cancelled : 1 = false;
  bool readable_armed : 1 = false;
  bool readable_cancelled : 1 = false;
  bool writable_armed : 1 = false;
  bool hang_up_armed : 1 = false;
  // What is to be reported.
  bool readable : 1 = false;
  // Behind what is readable may be what no event tells of: the end, an error, or bytes behind an
  // urgent one, where recv(2) stops.
  bool more_behind : 1 = false;
  bool writable : 1 = false;
  bool hung_up : 1 = false;
  bool failed : 1 = false;  // of datagrams: there are errors to take
  bool end_pending : 1 = false;
  bool ended : 1 = false;  // nothing more will be received
  // Which lists it is in.
  bool ready = false;
  bool dirty = false;
  int error = 0;
  // Buffers with bytes to be delivered; linked by Received::next.
  uint16_t first = kNoBuffer;
  uint16_t last = kNoBuffer;
  std::unique_ptr<Kept> kept;  // before those in buffers
};

struct AcceptorEntry {
  Poller::Acceptor* acceptor = nullptr;
  uint32_t generation = 0;
  bool used = false;
  bool paused = false;
  bool armed = false;
  bool ready = false;
  bool dirty = false;
  bool shares = false;  // another acceptor's listener
  UnixPath path;        // none where it shares: it goes with the acceptor that has made it
};

// The bytes in a buffer that are still to be delivered.
struct Received {
  uint32_t offset;
  uint32_t size;
  uint16_t next;
};

// Ends a socket that operations in the kernel still refer to, so that close(2) alone would have no
// effect before they are gone.
void EndNow(int fd, bool abort) {
  if (abort) {
    // Dissolving the association sends the reset: connect(2).
    const sockaddr nowhere = {AF_UNSPEC, {}};
    if (connect(fd, &nowhere, sizeof(nowhere)) == 0) return;
  }
  shutdown(fd, SHUT_RDWR);
}

class IoUringPoller final : public Poller {
 public:
  IoUringPoller(const IoUringSizes& sizes, UniqueFd wake)
      : sizes_(sizes),
        wake_(std::move(wake)),
        accept_loop_(wake_.get()),
        buffers_({sizes.buffers, sizes.buffer_bytes}),
        received_(sizes.buffers) {
    set_receive_block(buffers_.block());
  }
  ~IoUringPoller() override;

  absl::Status OpenRing();

  absl::string_view name() const override { return "io_uring"; }

  MonotonicTime Now() override { return SystemNow(); }
  bool clock_runs() const override { return true; }

  size_t Wait(MonotonicTime deadline) override;
  void Wake() override;

  absl::Status Listen(Acceptor& acceptor, const SocketAddress& address,
                      const ListenOptions& options) override;
  absl::Status ListenShared(Acceptor& acceptor, const Acceptor& other) override;
  void PauseAccepting(Acceptor& acceptor) override;
  void ResumeAccepting(Acceptor& acceptor) override;
  void Close(Acceptor& acceptor) override;
  SocketAddress LocalAddress(const Acceptor& acceptor) const override;

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

  int FdOf(const Socket& socket) const {
    return sockets_.At(static_cast<uint32_t>(handle(socket))).fd;
  }
  SocketEntry& EntryOf(const Socket& socket) {
    return sockets_.At(static_cast<uint32_t>(handle(socket)));
  }
  AcceptorEntry& EntryOf(const Acceptor& acceptor) {
    return acceptors_.At(static_cast<uint32_t>(handle(acceptor)));
  }
  SocketEntry& Add(Socket& socket, int fd);
  void Add(Acceptor& acceptor, UniqueFd fd, bool sets_buffer_sizes);

  Id IdOf(const Socket& socket) const {
    return sockets_.IdOf(static_cast<uint32_t>(handle(socket)));
  }
  Id IdOf(const Acceptor& acceptor) const {
    return acceptors_.IdOf(static_cast<uint32_t>(handle(acceptor)));
  }

  // Lists of what is to be done: before the next wait, and in the next turn.
  void MakeDirty(Id id, SocketEntry& entry) { PutInto(dirty_sockets_, entry.dirty, id); }
  void MakeDirty(Id id, AcceptorEntry& entry) { PutInto(dirty_acceptors_, entry.dirty, id); }
  void MakeReady(Id id, SocketEntry& entry) { PutInto(ready_sockets_, entry.ready, id); }
  void MakeReady(Id id, AcceptorEntry& entry) { PutInto(ready_acceptors_, entry.ready, id); }
  static void PutInto(std::vector<Id>& list, bool& is_in, Id id) {
    if (!is_in) list.push_back(id);
    is_in = true;
  }
  bool AnyReady() const { return !ready_sockets_.empty() || !ready_acceptors_.empty(); }

  void AwaitSendReady(const Socket& socket, SocketEntry& entry) {
    entry.send_blocked = true;
    MakeDirty(IdOf(socket), entry);
  }

  // Submissions. Each returns false when the queue is full.
  bool Submit();
  bool SubmitCancels();
  int HandOverCancels();
  bool SubmitWake();
  bool SubmitCancel(uint64_t tag);
  bool SubmitPoll(int fd, uint32_t events, uint64_t tag, uint32_t flags = 0);
  bool SubmitFor(Id id, SocketEntry& entry);
  bool SubmitFor(Id id, AcceptorEntry& entry);
  bool SubmitHungry();
  template <typename Entry>
  bool SubmitDirty(std::vector<Id>& list, Table<Entry>& table);

  int SubmitAndWait(MonotonicTime deadline);
  bool ChangeThread();

  // Completions.
  void TakeCompletion(const io_uring_cqe& cqe);
  void TakeReceived(Id id, const io_uring_cqe& cqe);
  void TakeEndOfReceive(Id id, SocketEntry& entry, int result);
  void TakeReadable(Id id, const io_uring_cqe& cqe);
  void TakeWritable(Id id, const io_uring_cqe& cqe);
  void TakeHangUp(Id id, const io_uring_cqe& cqe);
  void TakeAcceptable(Id id, const io_uring_cqe& cqe);
  bool IsBurst(size_t size) const;
  void Burst(Id id, SocketEntry& entry);
  static uint8_t* Keep(SocketEntry& entry, size_t more);
  void KeepReceived(SocketEntry& entry);

  // Events. What an event may have ended is looked up anew after it.
  size_t HandleSocket(Id id);
  size_t HandleConnect(Id id, SocketEntry& entry);
  SocketEntry* HandleWritable(Id id, SocketEntry& entry, size_t& events);
  size_t HandleDatagramSocket(Id id);
  size_t HandleDatagrams(Id id, SocketEntry& entry);
  bool Deliver(Id id, SocketEntry& entry);
  absl::Span<uint8_t> ReceiveSpaceOf(Socket& socket);
  bool DeliverBurst(Id id, SocketEntry& entry);
  bool DeliverPipe(SocketEntry& entry, PipePtr pipe);
  bool ReceivedNone(Id id, SocketEntry& entry, int error);
  void DeliverKept(SocketEntry& entry);
  void DeliverReceived(SocketEntry& entry);
  void DeliverCopy(SocketEntry& entry, absl::Span<uint8_t> space);
  void Unlink(SocketEntry& entry);
  void HandleAcceptor(Id id);

  const IoUringSizes sizes_;
  UniqueFd wake_;
  AcceptLoop accept_loop_;
  ProvidedBuffers buffers_;
  std::vector<Received> received_;  // by buffer
  BlockPtr burst_block_;            // from the first burst on
  PipePool pipes_;
  DatagramOps datagram_ops_{DatagramOps::Calls::kBatched};
  std::unique_ptr<IoUringRing> ring_;

  Table<SocketEntry> sockets_;
  Table<AcceptorEntry> acceptors_;
  std::vector<Id> dirty_sockets_, ready_sockets_, turn_sockets_;
  std::vector<Id> dirty_acceptors_, ready_acceptors_, turn_acceptors_;
  std::deque<Id> hungry_;  // want to receive and found the pool dry
  std::vector<uint64_t> cancels_;
  bool wake_armed_ = false;
  bool woken_ = false;
};

absl::Status IoUringPoller::OpenRing() {
  absl::StatusOr<std::unique_ptr<IoUringRing>> ring =
      IoUringRing::Create({sizes_.submissions, sizes_.completions});
  if (!ring.ok()) return ring.status();
  absl::Status status = buffers_.Register(**ring);
  if (status.ok()) ring_ = *std::move(ring);
  return status;
}

// On another thread than the ring's, closing the ring cancels what is left.
IoUringPoller::~IoUringPoller() {
  if (!cancels_.empty()) HandOverCancels();
}

// Turns.

size_t IoUringPoller::Wait(MonotonicTime deadline) {
  woken_ = false;
  for (;;) {
    const bool all = Submit();
    const bool look = !all || !hungry_.empty() || AnyReady() || deadline <= MonotonicTime();
    const int error = SubmitAndWait(look ? MonotonicTime() : deadline);
    if (ABSL_PREDICT_FALSE(error == EEXIST)) {
      if (!ChangeThread()) return 0;
      continue;
    }
    const size_t taken = ring_->TakeCompletions(
        kCompletionsPerTurn, [this](const io_uring_cqe& cqe) { TakeCompletion(cqe); });
    if (ABSL_PREDICT_FALSE(!all || !ring_->handed_over())) {
      if (error == EAGAIN && taken == 0) PauseForMemory();
      continue;
    }
    if (AnyReady() || woken_ || error != 0) break;
    // What came was of no concern to anybody. Sockets that are still hungry find buffers now, or
    // one would be ready that has them.
    if (hungry_.empty() && (look || Now() >= deadline)) break;
  }
  size_t events = woken_ ? 1 : 0;
  turn_sockets_.swap(ready_sockets_);
  turn_acceptors_.swap(ready_acceptors_);
  for (const Id id : turn_sockets_) events += HandleSocket(id);
  events += turn_acceptors_.size();
  for (const Id id : turn_acceptors_) HandleAcceptor(id);
  turn_sockets_.clear();
  turn_acceptors_.clear();
  return events;
}

int IoUringPoller::SubmitAndWait(MonotonicTime deadline) {
  if (deadline == MonotonicTime::InfiniteFuture()) return ring_->Enter(1, nullptr);
  const MonotonicTime now = deadline <= MonotonicTime() ? MonotonicTime() : Now();
  if (deadline <= now) return ring_->Enter(0, nullptr);
  const int64_t left = deadline.nanoseconds() - now.nanoseconds();
  const __kernel_timespec timeout = {left / 1'000'000'000, left % 1'000'000'000};
  return ring_->Enter(1, &timeout);
}

// The kernel lets one thread only use a ring, and the loop has moved to another. What is under way
// in the old ring ends with it. Receiving happens inside Enter only, so that what the old ring has
// received is among its completions, but for those that did not fit (IoUringSizes::completions).
bool IoUringPoller::ChangeThread() {
  while (ring_->TakeCompletions(kCompletionsPerTurn,
                                [this](const io_uring_cqe& cqe) { TakeCompletion(cqe); }) != 0) {
  }
  if (!OpenRing().ok()) {
    // For want of descriptors or memory, as a rule: the next turn tries again.
    PauseForMemory();
    return false;
  }
  cancels_.clear();
  wake_armed_ = false;
  hungry_.clear();
  sockets_.ForEach([this](Id id, SocketEntry& entry) {
    entry.receive_armed = entry.receive_cancelled = false;
    entry.readable_armed = entry.writable_armed = entry.hang_up_armed = false;
    MakeDirty(id, entry);
  });
  acceptors_.ForEach([this](Id id, AcceptorEntry& entry) {
    entry.armed = false;
    MakeDirty(id, entry);
  });
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
  return SubmitCancels() && (wake_armed_ || SubmitWake()) &&
         SubmitDirty(dirty_sockets_, sockets_) && SubmitDirty(dirty_acceptors_, acceptors_) &&
         SubmitHungry();
}

bool IoUringPoller::SubmitCancels() {
  while (ABSL_PREDICT_FALSE(!cancels_.empty())) {
    if (!SubmitCancel(cancels_.back())) return false;
    cancels_.pop_back();
  }
  return true;
}

// Only they may be handed over outside of Wait, which sees to it that the kernel takes everything:
// they name no descriptor that could be closed, and be another's, before that.
int IoUringPoller::HandOverCancels() {
  for (;;) {
    const bool all = SubmitCancels();
    const int error = ring_->Enter(0, nullptr);
    if (all || error != 0) return error;
  }
}

template <typename Entry>
bool IoUringPoller::SubmitDirty(std::vector<Id>& list, Table<Entry>& table) {
  while (!list.empty()) {
    Entry* const entry = table.Find(list.back());
    if (entry != nullptr) {
      if (!SubmitFor(list.back(), *entry)) return false;
      entry->dirty = false;
    }
    list.pop_back();
  }
  return true;
}

// The kernel reports each write to the eventfd; nobody has to read it, for its count is of no
// concern.
bool IoUringPoller::SubmitWake() {
  io_uring_sqe* const sqe = ring_->NextSubmission();
  if (sqe == nullptr) return false;
  sqe->opcode = IORING_OP_POLL_ADD;
  sqe->fd = wake_.get();
  sqe->len = IORING_POLL_ADD_MULTI;
  sqe->poll32_events = POLLIN;
  sqe->user_data = Id{0, 0}.Tag(Operation::kWake);
  wake_armed_ = true;
  return true;
}

bool IoUringPoller::SubmitCancel(uint64_t tag) {
  io_uring_sqe* const sqe = ring_->NextSubmission();
  if (sqe == nullptr) return false;
  sqe->opcode = IORING_OP_ASYNC_CANCEL;
  sqe->fd = -1;
  sqe->addr = tag;
  sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = Id{0, 0}.Tag(Operation::kCancel);
  return true;
}

// Brings what is in the kernel for a socket in line with what its owner wants.
bool IoUringPoller::SubmitFor(Id id, SocketEntry& entry) {
  if ((entry.connects || entry.send_blocked) && !entry.writable_armed) {
    if (!SubmitPoll(entry.fd, POLLOUT, id.Tag(Operation::kWritable))) return false;
    entry.writable_armed = true;
  }
  const bool receives = entry.receives && !entry.connects && !entry.ended;
  if (entry.receive_armed) {
    if ((receives && !entry.bursts) || entry.receive_cancelled) return true;
    entry.receive_cancelled = SubmitCancel(id.Tag(Operation::kReceive));
    return entry.receive_cancelled;
  }
  if (entry.readable_armed && !entry.readable_cancelled && !(receives && entry.bursts)) {
    entry.readable_cancelled = SubmitCancel(id.Tag(Operation::kReadable));
    if (!entry.readable_cancelled) return false;
  }
  if (!receives) {
    // Nobody reads, and would yet like to know that there is nobody left to write to.
    if (entry.connects || entry.ended || entry.hung_up || entry.hang_up_armed) return true;
    entry.hang_up_armed = SubmitPoll(entry.fd, POLLERR | POLLHUP, id.Tag(Operation::kHangUp));
    return entry.hang_up_armed;
  }
  if (entry.readable_armed || entry.readable) return true;
  if (ABSL_PREDICT_FALSE(entry.bursts)) {
    entry.readable_armed = SubmitPoll(entry.fd, POLLIN | POLLPRI | POLLRDHUP,
                                      id.Tag(Operation::kReadable), IORING_POLL_ADD_MULTI);
    return entry.readable_armed;
  }
  io_uring_sqe* const sqe = ring_->NextSubmission();
  if (sqe == nullptr) return false;
  sqe->opcode = IORING_OP_RECV;
  sqe->fd = entry.fd;
  sqe->ioprio = IORING_RECV_MULTISHOT;
  sqe->flags = IOSQE_BUFFER_SELECT;
  sqe->user_data = id.Tag(Operation::kReceive);
  entry.receive_armed = true;
  return true;
}

bool IoUringPoller::SubmitPoll(int fd, uint32_t events, uint64_t tag, uint32_t flags) {
  io_uring_sqe* const sqe = ring_->NextSubmission();
  if (sqe == nullptr) return false;
  sqe->opcode = IORING_OP_POLL_ADD;
  sqe->fd = fd;
  sqe->poll32_events = events;
  sqe->len = flags;
  sqe->user_data = tag;
  return true;
}

// Those that found the pool dry try again when there are buffers, no more of them than those.
bool IoUringPoller::SubmitHungry() {
  for (size_t n = buffers_.available(); n > 0 && !hungry_.empty(); --n) {
    SocketEntry* const entry = sockets_.Find(hungry_.front());
    if (entry != nullptr && !SubmitFor(hungry_.front(), *entry)) return false;
    hungry_.pop_front();
  }
  return true;
}

// A watch, and accept4(2) when it fires: io_uring_poller.h says why.
bool IoUringPoller::SubmitFor(Id id, AcceptorEntry& entry) {
  if (entry.paused || entry.armed) return true;
  entry.armed = SubmitPoll(ListenerOf(*entry.acceptor), POLLIN, id.Tag(Operation::kAcceptable));
  return entry.armed;
}

// Completions.

void IoUringPoller::TakeCompletion(const io_uring_cqe& cqe) {
  const Id id = Id::Of(cqe.user_data);
  switch (static_cast<Operation>(cqe.user_data >> 56)) {
    case Operation::kReceive:
      return TakeReceived(id, cqe);
    case Operation::kReadable:
      return TakeReadable(id, cqe);
    case Operation::kWritable:
      return TakeWritable(id, cqe);
    case Operation::kHangUp:
      return TakeHangUp(id, cqe);
    case Operation::kAcceptable:
      return TakeAcceptable(id, cqe);
    case Operation::kWake:
      woken_ = woken_ || cqe.res > 0;
      wake_armed_ = wake_armed_ && (cqe.flags & IORING_CQE_F_MORE) != 0;
      return;
    case Operation::kCancel:  // of what had ended by itself
      return;
  }
}

void IoUringPoller::TakeReceived(Id id, const io_uring_cqe& cqe) {
  SocketEntry* const entry = sockets_.Find(id);
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    const uint16_t buffer = static_cast<uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    buffers_.Take(buffer);
    if (ABSL_PREDICT_FALSE(entry == nullptr || cqe.res <= 0)) {
      buffers_.Give(buffer);
    } else if (ABSL_PREDICT_FALSE(!entry->receives)) {
      const size_t size = static_cast<size_t>(cqe.res);
      std::memcpy(Keep(*entry, size), buffers_.data(buffer), size);
      buffers_.Give(buffer);
    } else {
      const uint32_t size = static_cast<uint32_t>(cqe.res);
      received_[buffer] = {0, size, kNoBuffer};
      if (ABSL_PREDICT_TRUE(entry->first == kNoBuffer)) {
        entry->first = buffer;
      } else {
        received_[entry->last].next = buffer;
      }
      entry->last = buffer;
      if (IsBurst(size)) Burst(id, *entry);
      MakeReady(id, *entry);
    }
  }
  if (entry != nullptr && (cqe.flags & IORING_CQE_F_MORE) == 0)
    TakeEndOfReceive(id, *entry, cqe.res);
}

// A receive has left the kernel.
void IoUringPoller::TakeEndOfReceive(Id id, SocketEntry& entry, int result) {
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

void IoUringPoller::TakeReadable(Id id, const io_uring_cqe& cqe) {
  SocketEntry* const entry = sockets_.Find(id);
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

void IoUringPoller::TakeWritable(Id id, const io_uring_cqe& cqe) {
  SocketEntry* const entry = sockets_.Find(id);
  if (entry == nullptr) return;
  entry->writable_armed = false;
  if (cqe.res == -ECANCELED) return MakeDirty(id, *entry);
  entry->writable = true;
  if (cqe.res < 0) entry->error = -cqe.res;
  MakeReady(id, *entry);
}

void IoUringPoller::TakeHangUp(Id id, const io_uring_cqe& cqe) {
  SocketEntry* const entry = sockets_.Find(id);
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

void IoUringPoller::TakeAcceptable(Id id, const io_uring_cqe& cqe) {
  AcceptorEntry* const entry = acceptors_.Find(id);
  if (entry == nullptr) return;
  entry->armed = false;
  MakeDirty(id, *entry);
  if (cqe.res != -ECANCELED && !entry->paused) MakeReady(id, *entry);
}

bool IoUringPoller::IsBurst(size_t size) const {
  return size >= sizes_.buffer_bytes / kBurstsOfABuffer;
}

void IoUringPoller::Burst(Id id, SocketEntry& entry) {
  if (entry.bursts) return;
  entry.bursts = true;
  entry.small_receives = 0;
  MakeDirty(id, entry);
}

// Makes room behind what is kept, and answers where that is.
uint8_t* IoUringPoller::Keep(SocketEntry& entry, size_t more) {
  const std::unique_ptr<Kept> old = std::move(entry.kept);
  const size_t size = old == nullptr ? 0 : old->end - old->begin;
  entry.kept = std::make_unique<Kept>();
  entry.kept->block.reset(Block::NewExact(size + more));
  entry.kept->begin = 0;
  entry.kept->end = size + more;
  uint8_t* const storage = entry.kept->block->storage();
  if (size != 0) std::memcpy(storage, old->block->storage() + old->begin, size);
  return storage + size;
}

// Events.

size_t IoUringPoller::HandleSocket(Id id) {
  SocketEntry* entry = sockets_.Find(id);
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
    if (ABSL_PREDICT_FALSE(entry->first != kNoBuffer || entry->kept != nullptr ||
                           entry->readable)) {
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
SocketEntry* IoUringPoller::HandleWritable(Id id, SocketEntry& entry, size_t& events) {
  entry.writable = false;
  if (!entry.send_blocked) return &entry;
  entry.send_blocked = false;
  entry.socket->OnSendReady();
  ++events;
  return sockets_.Find(id);
}

size_t IoUringPoller::HandleConnect(Id id, SocketEntry& entry) {
  entry.writable = false;
  entry.connects = false;
  const int error = entry.error != 0 ? std::exchange(entry.error, 0) : PendingError(entry.fd);
  if (error == 0) MakeDirty(id, entry);
  entry.socket->OnConnect(error);
  return 1;
}

// Delivers some of what was received, if there is anything and it is wanted.
bool IoUringPoller::Deliver(Id id, SocketEntry& entry) {
  if (!entry.receives) return false;
  if (ABSL_PREDICT_FALSE(entry.kept != nullptr)) {
    DeliverKept(entry);
    return true;
  }
  if (entry.first == kNoBuffer) return entry.readable && DeliverBurst(id, entry);
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
bool IoUringPoller::DeliverBurst(Id id, SocketEntry& entry) {
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
  const ssize_t n = recv(entry.fd, space.data(), space.size(), 0);
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
bool IoUringPoller::DeliverPipe(SocketEntry& entry, PipePtr pipe) {
  entry.readable = true;
  entry.small_receives = 0;
  entry.socket->OnReceivePipe(std::move(pipe));
  return true;
}

bool IoUringPoller::ReceivedNone(Id id, SocketEntry& entry, int error) {
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

// Takes the first buffer of a socket off its list.
void IoUringPoller::Unlink(SocketEntry& entry) {
  entry.first = received_[entry.first].next;
  if (entry.first == kNoBuffer) entry.last = kNoBuffer;
}

// Lends what lies in one piece: a buffer, and those that were filled after it, as long as they
// stand side by side and are full.
void IoUringPoller::DeliverReceived(SocketEntry& entry) {
  const uint16_t first = entry.first;
  const uint32_t offset = received_[first].offset;
  size_t size = received_[first].size;
  uint16_t end = first + 1;
  Unlink(entry);
  while (ABSL_PREDICT_FALSE(entry.first == end &&
                            offset + size == (end - first) * size_t{sizes_.buffer_bytes})) {
    size += received_[end].size;
    ++end;
    Unlink(entry);
  }
  entry.socket->OnReceive({buffers_.data(first) + offset, size});
  for (uint16_t buffer = first; buffer != end; ++buffer) buffers_.Give(buffer);
}

// Into the socket's own space, as much as fits.
void IoUringPoller::DeliverCopy(SocketEntry& entry, absl::Span<uint8_t> space) {
  size_t copied = 0;
  while (copied < space.size() && entry.first != kNoBuffer) {
    const uint16_t buffer = entry.first;
    Received& received = received_[buffer];
    const size_t n = std::min<size_t>(space.size() - copied, received.size);
    std::memcpy(space.data() + copied, buffers_.data(buffer) + received.offset, n);
    copied += n;
    received.offset += static_cast<uint32_t>(n);
    received.size -= static_cast<uint32_t>(n);
    if (received.size != 0) break;
    Unlink(entry);
    buffers_.Give(buffer);
  }
  entry.socket->OnReceive(space.first(copied));
}

void IoUringPoller::DeliverKept(SocketEntry& entry) {
  const std::unique_ptr<Kept> kept = std::move(entry.kept);
  absl::Span<uint8_t> bytes(kept->block->storage() + kept->begin, kept->end - kept->begin);
  const absl::Span<uint8_t> space = ReceiveSpaceOf(*entry.socket);
  if (!space.empty()) {
    const size_t n = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), n);
    if (n < bytes.size()) {
      kept->begin += n;
      entry.kept = std::make_unique<Kept>(std::move(*kept));
    }
    return entry.socket->OnReceive(space.first(n));
  }
  set_receive_block(*kept->block);
  entry.socket->OnReceive(bytes);
  set_receive_block(buffers_.block());
}

// Sockets.

SocketEntry& IoUringPoller::Add(Socket& socket, int fd) {
  const Id id = sockets_.Add();
  handle(socket) = static_cast<int32_t>(id.index);
  SocketEntry& entry = sockets_.At(id.index);
  entry.socket = &socket;
  entry.fd = fd;
  return entry;
}

absl::Status IoUringPoller::Connect(Socket& socket, const SocketAddress& address,
                                    const SocketOptions& options) {
  absl::StatusOr<UniqueFd> fd = StartConnect(address, options);
  if (!fd.ok()) return fd.status();
  SocketEntry& entry = Add(socket, fd->Release());
  entry.connects = true;
  MakeDirty(IdOf(socket), entry);
  return absl::OkStatus();
}

void IoUringPoller::StartReceiving(Socket& socket) {
  SocketEntry& entry = EntryOf(socket);
  if (entry.receives) return;
  entry.receives = true;
  if (entry.kept != nullptr || entry.readable || entry.end_pending || entry.error != 0)
    MakeReady(IdOf(socket), entry);
  MakeDirty(IdOf(socket), entry);
}

void IoUringPoller::StopReceiving(Socket& socket) {
  SocketEntry& entry = EntryOf(socket);
  if (!entry.receives) return;
  entry.receives = false;
  KeepReceived(entry);
  MakeDirty(IdOf(socket), entry);
}

// A socket that has stopped holds none of the pool's buffers.
void IoUringPoller::KeepReceived(SocketEntry& entry) {
  size_t size = 0;
  for (uint16_t i = entry.first; i != kNoBuffer; i = received_[i].next) size += received_[i].size;
  if (size == 0) return;
  uint8_t* to = Keep(entry, size);
  while (entry.first != kNoBuffer) {
    const uint16_t buffer = entry.first;
    const Received& received = received_[buffer];
    std::memcpy(to, buffers_.data(buffer) + received.offset, received.size);
    to += received.size;
    Unlink(entry);
    buffers_.Give(buffer);
  }
}

int IoUringPoller::Send(Socket& socket, Buffer& queue) {
  SocketEntry& entry = EntryOf(socket);
  const int error = SendQueue(entry.fd, queue, receive_block());
  if (ABSL_PREDICT_FALSE(error != 0)) return error;
  if (ABSL_PREDICT_FALSE(!queue.empty())) AwaitSendReady(socket, entry);
  return 0;
}

int IoUringPoller::SendPipe(Socket& socket, Pipe& pipe) {
  SocketEntry& entry = EntryOf(socket);
  const int error = SendFromPipe(entry.fd, pipes_, pipe);
  if (error == 0 && pipe.size() != 0) AwaitSendReady(socket, entry);
  return error;
}

Poller::FileSent IoUringPoller::SendFile(Socket& socket, int file, uint64_t offset, size_t length) {
  SocketEntry& entry = EntryOf(socket);
  const FileSent sent = SendFilePart(entry.fd, file, offset, length);
  if (sent.error == 0 && !sent.file_ended && sent.bytes < length) AwaitSendReady(socket, entry);
  return sent;
}

void IoUringPoller::Close(Socket& socket, bool abort) {
  if (handle(socket) < 0) return;
  const Id id = IdOf(socket);
  SocketEntry& entry = EntryOf(socket);
  while (entry.first != kNoBuffer) {
    const uint16_t buffer = entry.first;
    Unlink(entry);
    buffers_.Give(buffer);
  }
  if (entry.receive_armed) cancels_.push_back(id.Tag(Operation::kReceive));
  if (entry.readable_armed) cancels_.push_back(id.Tag(Operation::kReadable));
  if (entry.writable_armed) cancels_.push_back(id.Tag(Operation::kWritable));
  if (entry.hang_up_armed) cancels_.push_back(id.Tag(Operation::kHangUp));
  if (entry.receive_armed || entry.readable_armed || entry.writable_armed || entry.hang_up_armed) {
    EndNow(entry.fd, abort);
  } else if (abort) {
    ResetOnClose(entry.fd);
  }
  if (ABSL_PREDICT_FALSE(entry.datagrams)) {
    datagram_ops_.Forget(entry.fd);
    HandOverCancels();  // a watch keeps the port, too, which others may want at once
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
  SocketEntry& entry = Add(socket, fd->Release());
  entry.datagrams = entry.bursts = true;
  MakeDirty(IdOf(socket), entry);
  return absl::OkStatus();
}

DatagramsSent IoUringPoller::SendDatagrams(Socket& socket,
                                           absl::Span<const OutgoingDatagram> datagrams) {
  SocketEntry& entry = EntryOf(socket);
  const DatagramsSent sent = datagram_ops_.Send(entry.fd, datagrams);
  if (ABSL_PREDICT_FALSE(sent.error == EAGAIN)) AwaitSendReady(socket, entry);
  return sent;
}

size_t IoUringPoller::HandleDatagramSocket(Id id) {
  SocketEntry* entry = sockets_.Find(id);
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
size_t IoUringPoller::HandleDatagrams(Id id, SocketEntry& entry) {
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

void IoUringPoller::Add(Acceptor& acceptor, UniqueFd fd, bool sets_buffer_sizes) {
  flags(acceptor) = static_cast<uint32_t>(fd.get()) << 1 | (sets_buffer_sizes ? 1 : 0);
  const Id id = acceptors_.Add();
  handle(acceptor) = static_cast<int32_t>(id.index);
  AcceptorEntry& entry = acceptors_.At(id.index);
  entry.acceptor = &acceptor;
  fd.Release();
  MakeDirty(id, entry);
}

absl::Status IoUringPoller::Listen(Acceptor& acceptor, const SocketAddress& address,
                                   const ListenOptions& options) {
  absl::StatusOr<UniqueFd> fd = OpenListener(address, options);
  if (!fd.ok()) return fd.status();
  Add(acceptor, *std::move(fd),
      !address.is_ip() &&
          (options.socket.send_buffer_bytes != 0 || options.socket.receive_buffer_bytes != 0));
  EntryOf(acceptor).path = UnixPath(LocalAddress(acceptor));
  return absl::OkStatus();
}

// The other's poller, of another thread, may be changing its table: only what the acceptor itself
// holds may be read of it.
absl::Status IoUringPoller::ListenShared(Acceptor& acceptor, const Acceptor& other) {
  UniqueFd fd(fcntl(ListenerOf(other), F_DUPFD_CLOEXEC, 0));
  if (!fd.ok()) return SystemError(errno, "dup", LocalAddress(other).ToString());
  Add(acceptor, std::move(fd), SetsBufferSizes(other));
  EntryOf(acceptor).shares = true;
  return absl::OkStatus();
}

void IoUringPoller::PauseAccepting(Acceptor& acceptor) {
  EntryOf(acceptor).paused = true;
  MakeDirty(IdOf(acceptor), EntryOf(acceptor));
}

void IoUringPoller::ResumeAccepting(Acceptor& acceptor) {
  const Id id = IdOf(acceptor);
  AcceptorEntry& entry = EntryOf(acceptor);
  entry.paused = false;
  MakeDirty(id, entry);
}

void IoUringPoller::Close(Acceptor& acceptor) {
  if (handle(acceptor) < 0) return;
  const Id id = IdOf(acceptor);
  AcceptorEntry& entry = EntryOf(acceptor);
  entry.path.Remove();
  if (entry.armed) {
    // The watch keeps the listener, and others may want its address at once. Where the ring is
    // another thread's, the watch stays for as long as the ring, and the socket stops listening.
    cancels_.push_back(id.Tag(Operation::kAcceptable));
    if (HandOverCancels() != 0 && !entry.shares) shutdown(ListenerOf(acceptor), SHUT_RDWR);
  }
  close(ListenerOf(acceptor));
  acceptors_.Remove(id.index);
  handle(acceptor) = -1;
  flags(acceptor) = 0;
}

SocketAddress IoUringPoller::LocalAddress(const Acceptor& acceptor) const {
  return LocalAddressOf(ListenerOf(acceptor));
}

void IoUringPoller::HandleAcceptor(Id id) {
  AcceptorEntry* entry = acceptors_.Find(id);
  if (entry == nullptr) return;
  entry->ready = false;
  if (entry->paused) return;
  Acceptor& acceptor = *entry->acceptor;
  const AcceptLoop::Shortage shortage = accept_loop_.Run(
      ListenerOf(acceptor), SetsBufferSizes(acceptor), [&](int fd, const SocketAddress& peer) {
        acceptor.OnAccept(Accepted(*this, fd), peer);
        entry = acceptors_.Find(id);
        return entry != nullptr && !entry->paused;
      });
  if (shortage.error != 0) acceptor.OnAcceptError(shortage.error, shortage.shed);
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
