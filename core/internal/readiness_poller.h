// ReadinessPoller is what the engines that are told when a socket is ready (epoll, kqueue) have in
// common: every operation on sockets. What is left to an engine is to watch and to wait; it calls
// the Handle functions from its Wait. None of its virtual functions is called for each message.
//
// Loop-bound, as Poller. It owns one receive buffer, shared by all sockets.
#ifndef SLUICE_CORE_INTERNAL_READINESS_POLLER_H_
#define SLUICE_CORE_INTERNAL_READINESS_POLLER_H_

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/datagram_ops.h"
#include "sluice/core/internal/pipe.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/system_calls.h"
#include "sluice/core/poller.h"

namespace sluice::internal {

class ReadinessPoller : public Poller {
 public:
  MonotonicTime Now() final { return SystemNow(); }
  bool clock_runs() const final { return true; }

  absl::Status Listen(Acceptor& acceptor, const SocketAddress& address,
                      const ListenOptions& options) final;
  absl::Status ListenShared(Acceptor& acceptor, const Acceptor& other) final;
  void PauseAccepting(Acceptor& acceptor) final;
  void ResumeAccepting(Acceptor& acceptor) final;
  void Close(Acceptor& acceptor) final;
  SocketAddress LocalAddress(const Acceptor& acceptor) const final;

  absl::Status Connect(Socket& socket, const SocketAddress& address,
                       const SocketOptions& options) final;
  void Attach(Socket& socket, Accepted accepted) final { handle(socket) = accepted.Release(); }
  void StartReceiving(Socket& socket) final;
  void StopReceiving(Socket& socket) final;
  int Send(Socket& socket, Buffer& queue) final;
  FileSent SendFile(Socket& socket, int file, uint64_t offset, size_t length) final;
  int SendPipe(Socket& socket, Pipe& pipe) final;
  size_t UnacknowledgedBytes(const Socket& socket) const final {
    return UnacknowledgedBytesOf(handle(socket));
  }
  void ShutdownSend(Socket& socket) final;
  void Close(Socket& socket, bool abort) final;
  SocketAddress LocalAddress(const Socket& socket) const final;

  absl::Status OpenDatagrams(Socket& socket, const SocketAddress& local,
                             const DatagramOptions& options) final;
  absl::Status ConnectDatagrams(Socket& socket, const SocketAddress& peer) final;
  DatagramsSent SendDatagrams(Socket& socket, absl::Span<const OutgoingDatagram> datagrams) final;
  absl::Status JoinGroup(Socket& socket, const MulticastGroup& group) final;
  absl::Status LeaveGroup(Socket& socket, const MulticastGroup& group) final;
  uint64_t DroppedDatagrams(const Socket& socket) const final;

 protected:
  static constexpr size_t kEventsPerTurn = 512;

  // Bits in Socket::flags. The low ones are Poller's; those from kFirstEngineBit on are the
  // engine's.
  static constexpr uint32_t kReceiving = 1 << 2;
  static constexpr uint32_t kSendBlocked = 1 << 3;
  static constexpr uint32_t kConnecting = 1 << 4;
  static constexpr uint32_t kReceiveEnded = 1 << 5;
  static constexpr uint32_t kDatagrams = 1 << 6;
  static constexpr int kFirstEngineBit = 7;

  // What an event's pointer points to, in its low bits.
  enum class Target : uintptr_t { kSocket = 0, kAcceptor = 1, kWake = 2, kDatagrams = 3 };
  static constexpr uintptr_t kTargetMask = 3;
  static void* Tagged(void* pointer, Target target) {
    return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(pointer) |
                                   static_cast<uintptr_t>(target));
  }
  static Target TargetOf(void* tagged) {
    return static_cast<Target>(reinterpret_cast<uintptr_t>(tagged) & kTargetMask);
  }
  static void* Untagged(void* tagged) {
    return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(tagged) & ~kTargetMask);
  }

  static void* TargetOf(Socket& socket) {
    return Tagged(&socket,
                  (flags(socket) & kDatagrams) != 0 ? Target::kDatagrams : Target::kSocket);
  }

  // `engine` is the descriptor on which the engine waits.
  ReadinessPoller(UniqueFd engine, DatagramOps::Calls datagram_calls);

  int engine() const { return engine_.get(); }

  enum class AcceptorWatch { kAdd, kPause, kResume, kRemove };
  virtual absl::Status WatchAcceptor(Acceptor& acceptor, AcceptorWatch watch) = 0;
  // Brings the engine's watch in line with what the socket waits for: to receive where kReceiving
  // is set, to send where kSendBlocked or kConnecting is.
  virtual void UpdateInterest(Socket& socket) = 0;
  // The socket is about to be closed: no event of this turn may reach it any more.
  virtual void Forget(Socket& socket) = 0;

  void HandleConnect(Socket& socket, int error);
  // Returns whether the socket is still open.
  bool HandleSendReady(Socket& socket);
  // `error` is what the system has said the end of the socket to be, or 0.
  void HandleReceive(Socket& socket, int error = 0);
  void HandleError(Socket& socket, int error);
  void HandleAcceptor(Acceptor& acceptor);
  // Of a socket of datagrams: there may be some to receive, or an error to take.
  void HandleDatagrams(Socket& socket);
  // `error` is what the system has said, or 0. Returns whether the socket is still open.
  bool HandleDatagramErrors(Socket& socket, int error = 0);

  // The system would not watch this socket (ENOSPC, ENOMEM). It is told so by ReportUnwatched, at
  // the end of the turn; until then has_unwatched, and a wait may only look.
  void AddUnwatched(Socket& socket, int error);
  bool has_unwatched() const { return !unwatched_.empty(); }
  // Answers how many were told.
  size_t ReportUnwatched() { return ABSL_PREDICT_FALSE(has_unwatched()) ? TellUnwatched() : 0; }

  // Whose event is being handled; null once it is closed.
  void set_current(void* target) { current_ = target; }

  void CloseAccepted(int32_t fd) final;

 private:
  // Large enough that a burst of sixteen 16 KiB messages is one system call, small enough to stay
  // in the second-level cache.
  static constexpr ssize_t kReceiveBytes = 256 * 1024;

  // Bits in Acceptor::flags.
  static constexpr uint32_t kPaused = 1;
  static constexpr uint32_t kSetsBufferSizes = 2;

  void AwaitSendReady(Socket& socket) {
    flags(socket) |= kSendBlocked;
    UpdateInterest(socket);
  }
  size_t TellUnwatched();
  void ReceiveMore(Socket& socket, int error);
  void HandleNothingReceived(Socket& socket, ssize_t n, int error);
  void HandleReceiveEnd(Socket& socket, int error);
  // Answers whether it is done: there was a pipe, and bytes for it, or an error.
  bool ReceiveByPipe(Socket& socket);
  // Takes the descriptor, unless it fails.
  absl::Status StartAccepting(Acceptor& acceptor, UniqueFd& fd, uint32_t bits);

  UniqueFd engine_;
  AcceptLoop accept_loop_;
  BlockPtr receive_block_;
  DatagramOps datagram_ops_;
  PipePool pipes_;
  void* current_ = nullptr;
  std::vector<std::pair<int, UnixPath>> unix_paths_;  // by the listener's descriptor; few
  std::deque<std::pair<Socket*, int>> unwatched_;
};

// Here because it is the way of every message, into the engine's own turn.
inline void ReadinessPoller::HandleReceive(Socket& socket, int error) {
  absl::Span<uint8_t> space(receive_block_->storage(), kReceiveBytes);
  if (ABSL_PREDICT_FALSE((flags(socket) & (kHasReceiveSpace | kReceivesPipes)) != 0)) {
    if ((flags(socket) & kReceivesPipes) != 0 && ReceiveByPipe(socket)) return;
    if ((flags(socket) & kHasReceiveSpace) != 0) {
      if (const absl::Span<uint8_t> wanted = socket.ReceiveSpace(); !wanted.empty()) space = wanted;
    }
  }
  const ssize_t n = SystemReceive(handle(socket), space.data(), space.size());
  if (ABSL_PREDICT_FALSE(n <= 0)) return HandleNothingReceived(socket, n, error);
  socket.OnReceive(space.first(static_cast<size_t>(n)));
  if (ABSL_PREDICT_FALSE(n == kReceiveBytes) && current_ == &socket &&
      space.data() == receive_block_->storage()) {
    ReceiveMore(socket, error);
  }
}

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_READINESS_POLLER_H_
