#include "sluice/core/udp.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "absl/base/optimization.h"
#include "sluice/core/internal/system_error.h"
#include "sluice/core/poller.h"
#include "sluice/core/slice.h"

namespace sluice {
namespace {

constexpr size_t kMostGathered = 64;

// Any address of this host, and any port, of the family of `peer`.
SocketAddress AnyLocal(const SocketAddress& peer) {
  if (!peer.is_ip()) return peer;  // which is an error, and to be named in it
  sockaddr_storage any = {};
  any.ss_family = peer.data()->sa_family;
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&any), peer.length());
}

}  // namespace

// What is to leave when the callback returns or the turn ends: 100 KiB, of which each thread keeps
// one for whoever sends next.
struct UdpSocket::Gathered {
  static std::unique_ptr<Gathered>& Spare() {
    thread_local std::unique_ptr<Gathered> spare;
    return spare;
  }
  static std::unique_ptr<Gathered> New() {
    std::unique_ptr<Gathered> gathered = std::move(Spare());
    if (gathered != nullptr) return gathered;
    return std::unique_ptr<Gathered>(new Gathered);  // make_unique would clear what it copies into
  }
  static void Delete(std::unique_ptr<Gathered> gathered) {
    gathered->count = gathered->bytes = gathered->copied = 0;
    Spare() = std::move(gathered);
  }

  bool HasRoom(size_t size) const {
    return count < kMostGathered && copied + size <= copies.size();
  }

  size_t count = 0;
  size_t bytes = 0;
  size_t copied = 0;
  std::array<OutgoingDatagram, kMostGathered> datagrams;
  std::array<SocketAddress, kMostGathered> peers;
  std::array<SocketAddress, kMostGathered> sources;
  std::array<uint8_t, kMaxDatagramBytes + 5 * 1024> copies;
};

// What the system has no room for.
struct UdpSocket::Waiting {
  struct Datagram {
    Slice bytes;
    SocketAddress peer;  // none: the connected one
    SocketAddress source;
    int8_t ecn;

    OutgoingDatagram Outgoing() const {
      return {
          bytes.span(), peer.is_ip() ? &peer : nullptr, {source.is_ip() ? &source : nullptr, ecn}};
    }
  };
  std::deque<Datagram> datagrams;
  size_t bytes = 0;
};

void UdpHandler::OnDrain(UdpSocket& socket) { socket.Close(); }

UdpSocket::UdpSocket(EventLoop& loop, const Options& options, UdpHandler& handler)
    : Member(loop),
      handler_(&handler),
      max_queued_datagrams_(options.max_queued_datagrams),
      max_queued_bytes_(options.max_queued_bytes) {}

UdpSocket::~UdpSocket() { Close(); }

absl::StatusOr<std::unique_ptr<UdpSocket>> UdpSocket::Bind(EventLoop& loop,
                                                           const SocketAddress& local,
                                                           const Options& options,
                                                           UdpHandler& handler) {
  std::unique_ptr<UdpSocket> socket(new UdpSocket(loop, options, handler));
  if (absl::Status status = socket->Open(local, options.datagram); !status.ok()) return status;
  return socket;
}

absl::StatusOr<std::unique_ptr<UdpSocket>> UdpSocket::Connect(EventLoop& loop,
                                                              const SocketAddress& peer,
                                                              const Options& options,
                                                              UdpHandler& handler) {
  const SocketAddress local = options.local.is_ip() ? options.local : AnyLocal(peer);
  std::unique_ptr<UdpSocket> socket(new UdpSocket(loop, options, handler));
  absl::Status status = socket->Open(local, options.datagram);
  if (status.ok()) status = socket->ConnectTo(peer);
  if (!status.ok()) return status;
  return socket;
}

absl::Status UdpSocket::Open(const SocketAddress& local, const DatagramOptions& options) {
  CheckThread();
  absl::Status status = poller().OpenDatagrams(*this, local, options);
  if (!status.ok()) return status;
  local_ = poller().LocalAddress(*this);
  poller().StartReceiving(*this);
  return status;
}

absl::Status UdpSocket::ConnectTo(const SocketAddress& peer) {
  absl::Status status = poller().ConnectDatagrams(*this, peer);
  peer_ = peer;
  local_ = poller().LocalAddress(*this);
  return status;
}

void UdpSocket::Close() {
  CheckThread();
  if (left()) return;
  FlushGathered();
  waiting_.reset();
  if (Poller::is_open(*this)) counters_.dropped_system = poller().DroppedDatagrams(*this);
  poller().Close(*this, /*abort=*/false);
  Leave();
}

void UdpSocket::End(const absl::Status& /*status*/) { Close(); }

// Receiving.

void UdpSocket::PauseReceiving() {
  CheckThread();
  if (!left()) poller().StopReceiving(*this);
}

void UdpSocket::ResumeReceiving() {
  CheckThread();
  if (!left()) poller().StartReceiving(*this);
}

void UdpSocket::OnDatagrams(absl::Span<const ReceivedDatagram> datagrams) {
  counters_.received += datagrams.size();
  for (const ReceivedDatagram& datagram : datagrams) {
    counters_.received_bytes += datagram.bytes.size();
    if (ABSL_PREDICT_FALSE(datagram.truncated)) ++counters_.truncated;
  }
  Callback callback(*this);
  handler_->OnDatagrams(*this, datagrams);
  if (!callback.destroyed()) FlushGathered();
}

// Sending.

UdpSendResult UdpSocket::Send(absl::Span<const uint8_t> bytes, const SocketAddress* peer,
                              const DatagramSendOptions& options, bool lent) {
  CheckThread();
  if (left()) return UdpSendResult::kRefused;
  if (bytes.size() > kMaxDatagramBytes) return Refuse(EMSGSIZE, peer);
  if (peer == nullptr ? !peer_.is_ip() : !peer->is_ip()) return Refuse(EDESTADDRREQ, peer);
  if (!MakeRoom(bytes.size())) {
    ++counters_.dropped_queue;
    ready_owed_ = true;
    return UdpSendResult::kDropped;
  }
  if (ABSL_PREDICT_FALSE(waiting_ != nullptr)) {
    Wait({bytes, peer, options});
  } else {
    Gather({bytes, peer, options}, lent && in_callback());
  }
  return UdpSendResult::kSent;
}

UdpSendResult UdpSocket::Refuse(int error, const SocketAddress* peer) {
  NoteError(error, peer);
  return UdpSendResult::kRefused;
}

// Whether so many bytes may be added to what has not left yet.
bool UdpSocket::MayWait(size_t bytes) const {
  size_t datagrams = queued_datagrams();
  if (gathered_ != nullptr) bytes += gathered_->bytes;
  if (waiting_ != nullptr) bytes += waiting_->bytes;
  return datagrams == 0 || (datagrams < max_queued_datagrams_ && bytes <= max_queued_bytes_);
}

bool UdpSocket::MakeRoom(size_t bytes) {
  const bool may_wait = MayWait(bytes);
  if (ABSL_PREDICT_TRUE(may_wait && (gathered_ == nullptr || gathered_->HasRoom(bytes))))
    return true;
  FlushGathered();
  return MayWait(bytes);
}

void UdpSocket::Gather(const OutgoingDatagram& datagram, bool lent) {
  if (gathered_ == nullptr) {
    gathered_ = Gathered::New();
    if (!in_callback()) SettleLater();
  }
  Gathered& to = *gathered_;
  OutgoingDatagram& added = to.datagrams[to.count];
  added = datagram;
  if (datagram.peer != nullptr) {
    // Most go where the one before has gone.
    const SocketAddress* const last = to.count == 0 ? nullptr : to.datagrams[to.count - 1].peer;
    if (last != nullptr && *last == *datagram.peer) {
      added.peer = last;
    } else {
      to.peers[to.count] = *datagram.peer;
      added.peer = &to.peers[to.count];
    }
  }
  if (datagram.options.source != nullptr) {
    to.sources[to.count] = *datagram.options.source;
    added.options.source = &to.sources[to.count];
  }
  if (!lent && !datagram.bytes.empty()) {
    uint8_t* const copy = to.copies.data() + to.copied;
    std::memcpy(copy, datagram.bytes.data(), datagram.bytes.size());
    added.bytes = {copy, datagram.bytes.size()};
    to.copied += datagram.bytes.size();
  }
  to.bytes += datagram.bytes.size();
  ++to.count;
}

void UdpSocket::FlushGathered() {
  if (gathered_ == nullptr) return;
  std::unique_ptr<Gathered> gathered = std::move(gathered_);
  const auto datagrams = absl::MakeConstSpan(gathered->datagrams).first(gathered->count);
  const size_t sent = SendSome(datagrams);
  for (const OutgoingDatagram& left : datagrams.subspan(sent)) Wait(left);
  Gathered::Delete(std::move(gathered));
}

// Returns how many have left, or cannot; when those are not all, the engine has no room.
size_t UdpSocket::SendSome(absl::Span<const OutgoingDatagram> datagrams) {
  size_t done = 0;
  while (done < datagrams.size()) {
    const DatagramsSent sent = poller().SendDatagrams(*this, datagrams.subspan(done));
    for (const OutgoingDatagram& taken : datagrams.subspan(done, sent.taken))
      counters_.sent_bytes += taken.bytes.size();
    counters_.sent += sent.taken;
    done += sent.taken;
    if (ABSL_PREDICT_TRUE(sent.error == 0)) continue;
    if (sent.error == EAGAIN) break;
    NoteError(sent.error, datagrams[done].peer);
    ++done;
  }
  return done;
}

void UdpSocket::Wait(const OutgoingDatagram& datagram) {
  if (waiting_ == nullptr) waiting_ = std::make_unique<Waiting>();
  waiting_->datagrams.push_back(
      {Slice::Copy(datagram.bytes), datagram.peer != nullptr ? *datagram.peer : SocketAddress(),
       datagram.options.source != nullptr ? *datagram.options.source : SocketAddress(),
       datagram.options.ecn});
  waiting_->bytes += datagram.bytes.size();
}

void UdpSocket::FlushWaiting() {
  std::deque<Waiting::Datagram>& queue = waiting_->datagrams;
  while (!queue.empty()) {
    std::array<OutgoingDatagram, kMostGathered> some;
    const size_t count = std::min(some.size(), queue.size());
    for (size_t i = 0; i < count; ++i) some[i] = queue[i].Outgoing();
    const size_t sent = SendSome(absl::MakeConstSpan(some).first(count));
    for (size_t i = 0; i < sent; ++i) {
      waiting_->bytes -= queue.front().bytes.size();
      queue.pop_front();
    }
    if (sent < count) return;
  }
  waiting_.reset();
}

void UdpSocket::OnSendReady() {
  if (waiting_ != nullptr) FlushWaiting();
  if (waiting_ != nullptr || !std::exchange(ready_owed_, false)) return;
  Callback callback(*this);
  handler_->OnSendReady(*this);
  if (!callback.destroyed()) FlushGathered();
}

// Errors.

void UdpSocket::NoteError(int error, const SocketAddress* peer) {
  ++counters_.errors;
  if (send_error_ != 0) return;
  send_error_ = error;
  failed_peer_ = peer != nullptr ? *peer : peer_;
  SettleLater();
}

void UdpSocket::Settle() {
  FlushGathered();
  if (send_error_ != 0) Tell(std::exchange(send_error_, 0), "send", failed_peer_, failed_peer_);
}

void UdpSocket::OnDatagramError(int error, const SocketAddress& peer) {
  ++counters_.errors;
  const SocketAddress& of = peer.is_ip() ? peer : peer_;
  Tell(error, "datagram", of, of);
}

// The system will not watch the socket.
void UdpSocket::OnError(int error) {
  ++counters_.errors;
  if (Tell(error, "watch", local_, peer_)) Close();
}

// Answers whether the socket is still there. The peer is a copy: the handler may destroy the socket
// and look at it afterwards.
bool UdpSocket::Tell(int error, absl::string_view operation, const SocketAddress& where,
                     SocketAddress peer) {
  const absl::Status status = internal::SystemError(error, operation, where.ToString());
  Callback callback(*this);
  handler_->OnError(*this, status, peer);
  if (callback.destroyed()) return false;
  FlushGathered();
  return true;
}

// The rest.

void UdpSocket::OnDrain() {
  Callback callback(*this);
  handler_->OnDrain(*this);
  if (!callback.destroyed()) FlushGathered();
}

absl::Status UdpSocket::JoinGroup(const MulticastGroup& group) {
  CheckThread();
  if (left()) return absl::FailedPreconditionError("join: the socket is closed");
  return poller().JoinGroup(*this, group);
}

absl::Status UdpSocket::LeaveGroup(const MulticastGroup& group) {
  CheckThread();
  if (left()) return absl::FailedPreconditionError("leave: the socket is closed");
  return poller().LeaveGroup(*this, group);
}

size_t UdpSocket::queued_datagrams() const {
  return (gathered_ != nullptr ? gathered_->count : 0) +
         (waiting_ != nullptr ? waiting_->datagrams.size() : 0);
}

UdpSocket::Counters UdpSocket::counters() const {
  Counters result = counters_;
  if (!left()) result.dropped_system = poller().DroppedDatagrams(*this);
  return result;
}

}  // namespace sluice
