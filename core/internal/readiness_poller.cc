#include "sluice/core/internal/readiness_poller.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "sluice/core/buffer.h"
#include "sluice/core/datagram.h"
#include "sluice/core/internal/datagram_socket.h"
#include "sluice/core/internal/system_calls.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {

ReadinessPoller::ReadinessPoller(UniqueFd engine, DatagramOps::Calls datagram_calls)
    : engine_(std::move(engine)),
      accept_loop_(engine_.get()),
      receive_block_(Block::NewExact(kReceiveBytes)),
      datagram_ops_(datagram_calls) {
  set_receive_block(*receive_block_);
}

void ReadinessPoller::AddUnwatched(Socket& socket, int error) {
  const bool known = std::any_of(unwatched_.begin(), unwatched_.end(),
                                 [&](const auto& entry) { return entry.first == &socket; });
  if (!known) unwatched_.push_back({&socket, error});
}

size_t ReadinessPoller::TellUnwatched() {
  size_t told = 0;
  // No more than there are now: who is told may connect again at once, and fail again.
  for (size_t n = unwatched_.size(); told < n && !unwatched_.empty(); ++told) {
    const auto [socket, error] = unwatched_.front();
    unwatched_.pop_front();
    const bool connecting = (flags(*socket) & kConnecting) != 0;
    flags(*socket) &= ~kConnecting;
    connecting ? socket->OnConnect(error) : socket->OnError(error);
  }
  return told;
}

// Listening.

absl::Status ReadinessPoller::Listen(Acceptor& acceptor, const SocketAddress& address,
                                     const ListenOptions& options) {
  absl::StatusOr<UniqueFd> fd = OpenListener(address, options);
  if (!fd.ok()) return fd.status();
  const bool sets_buffer_sizes = !address.is_ip() && (options.socket.send_buffer_bytes != 0 ||
                                                      options.socket.receive_buffer_bytes != 0);
  const UnixPath path(LocalAddressOf(fd->get()));
  absl::Status status = StartAccepting(acceptor, *fd, sets_buffer_sizes ? kSetsBufferSizes : 0);
  if (!path.exists()) return status;
  if (status.ok()) {
    unix_paths_.emplace_back(handle(acceptor), path);
  } else {
    path.Remove();
  }
  return status;
}

// The path of a Unix listener is not its: that goes with the acceptor that has made it.
absl::Status ReadinessPoller::ListenShared(Acceptor& acceptor, const Acceptor& other) {
  UniqueFd fd(fcntl(handle(other), F_DUPFD_CLOEXEC, 0));
  if (!fd.ok()) return SystemError(errno, "dup", LocalAddress(other).ToString());
  return StartAccepting(acceptor, fd, flags(other) & kSetsBufferSizes);
}

absl::Status ReadinessPoller::StartAccepting(Acceptor& acceptor, UniqueFd& fd, uint32_t bits) {
  handle(acceptor) = fd.get();
  if (absl::Status status = WatchAcceptor(acceptor, AcceptorWatch::kAdd); !status.ok()) {
    handle(acceptor) = -1;
    return status;
  }
  flags(acceptor) = bits;
  fd.Release();
  return absl::OkStatus();
}

void ReadinessPoller::PauseAccepting(Acceptor& acceptor) {
  flags(acceptor) |= kPaused;
  WatchAcceptor(acceptor, AcceptorWatch::kPause).IgnoreError();
}

void ReadinessPoller::ResumeAccepting(Acceptor& acceptor) {
  flags(acceptor) &= ~kPaused;
  WatchAcceptor(acceptor, AcceptorWatch::kResume).IgnoreError();
}

void ReadinessPoller::Close(Acceptor& acceptor) {
  if (handle(acceptor) < 0) return;
  if (current_ == &acceptor) current_ = nullptr;
  WatchAcceptor(acceptor, AcceptorWatch::kRemove).IgnoreError();
  std::erase_if(unix_paths_, [&](const auto& entry) {
    if (entry.first != handle(acceptor)) return false;
    entry.second.Remove();
    return true;
  });
  close(handle(acceptor));
  handle(acceptor) = -1;
  flags(acceptor) = 0;
}

SocketAddress ReadinessPoller::LocalAddress(const Acceptor& acceptor) const {
  return LocalAddressOf(handle(acceptor));
}

void ReadinessPoller::HandleAcceptor(Acceptor& acceptor) {
  current_ = &acceptor;
  const AcceptLoop::Shortage shortage =
      accept_loop_.Run(handle(acceptor), (flags(acceptor) & kSetsBufferSizes) != 0,
                       [&](int fd, const SocketAddress& peer) {
                         acceptor.OnAccept(Accepted(*this, fd), peer);
                         return current_ == &acceptor && (flags(acceptor) & kPaused) == 0;
                       });
  if (shortage.error != 0) acceptor.OnAcceptError(shortage.error, shortage.shed);
}

void ReadinessPoller::CloseAccepted(int32_t fd) { close(fd); }

// Connecting, and what follows.

absl::Status ReadinessPoller::Connect(Socket& socket, const SocketAddress& address,
                                      const SocketOptions& options) {
  absl::StatusOr<UniqueFd> fd = StartConnect(address, options);
  if (!fd.ok()) return fd.status();
  handle(socket) = fd->Release();
  flags(socket) |= kConnecting;
  UpdateInterest(socket);
  return absl::OkStatus();
}

void ReadinessPoller::HandleConnect(Socket& socket, int error) {
  flags(socket) &= ~kConnecting;
  socket.OnConnect(error);
  // As a rule it receives by now, and has been updated.
  if (error == 0 && current_ == &socket) UpdateInterest(socket);
}

void ReadinessPoller::StartReceiving(Socket& socket) {
  if ((flags(socket) & kReceiveEnded) != 0) return;
  flags(socket) |= kReceiving;
  UpdateInterest(socket);
}

void ReadinessPoller::StopReceiving(Socket& socket) {
  flags(socket) &= ~kReceiving;
  UpdateInterest(socket);
}

// The block was full, and may have held the beginning of a large message, for whose rest there is a
// space by now: that is received while the message is in the cache, and not when all others have
// had their turn.
void ReadinessPoller::ReceiveMore(Socket& socket, int error) {
  if ((flags(socket) & kReceiving) == 0 || (flags(socket) & kHasReceiveSpace) == 0) return;
  const absl::Span<uint8_t> space = socket.ReceiveSpace();
  if (space.empty()) return;
  const ssize_t n = SystemReceive(handle(socket), space.data(), space.size());
  if (n <= 0) return HandleNothingReceived(socket, n, error);
  socket.OnReceive(space.first(static_cast<size_t>(n)));
}

void ReadinessPoller::HandleNothingReceived(Socket& socket, ssize_t n, int error) {
  if (n == 0) return HandleReceiveEnd(socket, error);
  if (errno != EAGAIN && errno != EINTR) HandleError(socket, errno);
}

void ReadinessPoller::HandleReceiveEnd(Socket& socket, int error) {
  if (error != 0) return HandleError(socket, error);
  flags(socket) = (flags(socket) & ~kReceiving) | kReceiveEnded;
  socket.OnReceiveEnd();
  // Most are closed by now. For the others the end would be reported again and again.
  if (current_ == &socket) UpdateInterest(socket);
}

bool ReadinessPoller::ReceiveByPipe(Socket& socket) {
  int error;
  PipePtr pipe = ReceivePipe(handle(socket), pipes_, error);
  if (pipe != nullptr) {
    socket.OnReceivePipe(std::move(pipe));
    return true;
  }
  if (error != 0 && error != EINTR) HandleError(socket, error);
  return error != 0;
}

// The socket is to be closed now. Until it is, it waits for nothing, so that its error is not
// followed by another one, or by an end.
void ReadinessPoller::HandleError(Socket& socket, int error) {
  flags(socket) = (flags(socket) & ~(kReceiving | kSendBlocked)) | kReceiveEnded;
  socket.OnError(error);
}

int ReadinessPoller::Send(Socket& socket, Buffer& queue) {
  const int error = SendQueue(handle(socket), queue, *receive_block_);
  if (ABSL_PREDICT_FALSE(error != 0)) return error;
  if (ABSL_PREDICT_FALSE(!queue.empty())) AwaitSendReady(socket);
  return 0;
}

Poller::FileSent ReadinessPoller::SendFile(Socket& socket, int file, uint64_t offset,
                                           size_t length) {
  const FileSent sent = SendFilePart(handle(socket), file, offset, length);
  if (sent.error == 0 && !sent.file_ended && sent.bytes < length) AwaitSendReady(socket);
  return sent;
}

int ReadinessPoller::SendPipe(Socket& socket, Pipe& pipe) {
  const int error = SendFromPipe(handle(socket), pipes_, pipe);
  if (error == 0 && pipe.size() != 0) AwaitSendReady(socket);
  return error;
}

bool ReadinessPoller::HandleSendReady(Socket& socket) {
  flags(socket) &= ~kSendBlocked;
  socket.OnSendReady();
  if (current_ != &socket) return false;
  UpdateInterest(socket);
  return true;
}

void ReadinessPoller::ShutdownSend(Socket& socket) { shutdown(handle(socket), SHUT_WR); }

void ReadinessPoller::Close(Socket& socket, bool abort) {
  if (handle(socket) < 0) return;
  Forget(socket);
  if (current_ == &socket) current_ = nullptr;
  if (abort) ResetOnClose(handle(socket));
  if (ABSL_PREDICT_FALSE((flags(socket) & kDatagrams) != 0)) datagram_ops_.Forget(handle(socket));
  close(handle(socket));
  handle(socket) = -1;
  flags(socket) = 0;
  if (ABSL_PREDICT_FALSE(!unwatched_.empty())) {
    std::erase_if(unwatched_, [&](const auto& entry) { return entry.first == &socket; });
  }
}

SocketAddress ReadinessPoller::LocalAddress(const Socket& socket) const {
  return LocalAddressOf(handle(socket));
}

// Datagrams.

absl::Status ReadinessPoller::OpenDatagrams(Socket& socket, const SocketAddress& local,
                                            const DatagramOptions& options) {
  absl::StatusOr<UniqueFd> fd = OpenDatagramSocket(local, options);
  if (!fd.ok()) return fd.status();
  datagram_ops_.Add(fd->get(), options);
  handle(socket) = fd->Release();
  flags(socket) = kDatagrams;
  UpdateInterest(socket);  // in errors
  return absl::OkStatus();
}

absl::Status ReadinessPoller::ConnectDatagrams(Socket& socket, const SocketAddress& peer) {
  return ConnectDatagramSocket(handle(socket), peer);
}

DatagramsSent ReadinessPoller::SendDatagrams(Socket& socket,
                                             absl::Span<const OutgoingDatagram> datagrams) {
  const DatagramsSent sent = datagram_ops_.Send(handle(socket), datagrams);
  if (ABSL_PREDICT_FALSE(sent.error == EAGAIN)) AwaitSendReady(socket);
  return sent;
}

void ReadinessPoller::HandleDatagrams(Socket& socket) {
  if ((flags(socket) & kReceiving) == 0) return;
  int error = 0;
  const absl::Span<const ReceivedDatagram> datagrams = datagram_ops_.Receive(handle(socket), error);
  if (!datagrams.empty()) return socket.OnDatagrams(datagrams);
  if (error != EAGAIN && error != EINTR) HandleDatagramErrors(socket, error);
}

bool ReadinessPoller::HandleDatagramErrors(Socket& socket, int error) {
  const auto is_open = [&] { return current_ == &socket; };
  TellDatagramErrors(handle(socket), socket, error, is_open);
  return is_open();
}

absl::Status ReadinessPoller::JoinGroup(Socket& socket, const MulticastGroup& group) {
  return JoinDatagramGroup(handle(socket), group);
}

absl::Status ReadinessPoller::LeaveGroup(Socket& socket, const MulticastGroup& group) {
  return LeaveDatagramGroup(handle(socket), group);
}

uint64_t ReadinessPoller::DroppedDatagrams(const Socket& socket) const {
  return DroppedDatagramsOf(handle(socket));
}

}  // namespace sluice::internal
