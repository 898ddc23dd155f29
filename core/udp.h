// UdpSocket sends and receives datagrams on an EventLoop: UDP over IPv4 and IPv6, bound to an
// address, or connected to one peer. It is no Stream: datagrams get lost, arrive twice or in
// another order, and each comes whole or not at all; and there is no end to tell, so no OnClose.
//
// Example: an echo server.
//
//   class Echo : public sluice::UdpHandler {
//     void OnDatagrams(sluice::UdpSocket& socket,
//                      absl::Span<const sluice::ReceivedDatagram> datagrams) override {
//       for (const sluice::ReceivedDatagram& datagram : datagrams)
//         socket.SendLent(datagram.bytes, *datagram.peer);
//     }
//   };
//   Echo echo;  // outlives the socket
//   auto socket = sluice::UdpSocket::Bind(
//       *loop, *sluice::SocketAddress::Parse("127.0.0.1:9000"), {}, echo);
//   loop->Run();
//
// Loop-bound. No call runs a callback inside itself. A callback may call anything on its socket,
// and may destroy it.
//
// Receiving. OnDatagrams gets what one turn of the loop has brought, no more than 64 messages of
// the system, so that a busy socket does not starve others. All of it is lent until the callback
// returns: bytes (writable), peers, addresses. The memory is the loop's; an idle socket owns none.
//
// Sending. What a callback of the socket sends is gathered and leaves in one system call when the
// callback has returned (or in several, 64 datagrams each); what is sent elsewhere
// leaves at the end of the loop's turn. What the system has no room for waits in a queue with a
// bound. When that is full, a datagram is dropped: the call says so, a counter counts it, and
// OnSendReady follows when the queue is empty.
//
// Errors. That a datagram did not get through, as far as anybody tells (ICMP; a send that the
// system refuses), is reported to OnError, and the socket goes on.
//
// The end. Close, or the destructor: what was gathered leaves, as far as the system has room; what
// waits in the queue is lost; no callback follows. A loop that drains asks by OnDrain, and closes
// what is still open at the drain's deadline, or when it is destroyed itself. The socket may
// outlive its loop.
#ifndef SLUICE_CORE_UDP_H_
#define SLUICE_CORE_UDP_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/datagram.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/member.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class UdpSocket;

// What became of a datagram given to a Send.
enum class UdpSendResult : uint8_t {
  kSent,     // Accepted: on its way, or in the queue.
  kDropped,  // The queue is full. OnSendReady will follow.
  kRefused,  // The socket is closed; or, as OnError tells, too: the datagram has more than
             // kMaxDatagramBytes, or no peer.
};

// What the user of a UdpSocket implements.
class UdpHandler {
 public:
  virtual ~UdpHandler() = default;

  // Datagrams have arrived; at least one. All of it is lent until the callback returns.
  virtual void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) = 0;

  // After a Send that answered kDropped: the queue is empty.
  virtual void OnSendReady(UdpSocket& /*socket*/) {}

  // A datagram to `peer` could not be sent, or the network says that it did not get there
  // (kUnavailable: refused, unreachable, ...). A peer that is not known has no address. Of the
  // sends that fail in one turn the first is told; Counters::errors counts all. A socket that the
  // system will not watch is closed after this (epoll: out of memory, or over its user's limit).
  virtual void OnError(UdpSocket& /*socket*/, const absl::Status& /*status*/,
                       const SocketAddress& /*peer*/) {}

  // The loop is draining (EventLoop::Drain): finish and close. The default closes.
  virtual void OnDrain(UdpSocket& socket);
};

class UdpSocket final : private EventLoop::Member {
 public:
  struct Options {
    DatagramOptions datagram = {};
    // Of a socket that connects: what it is bound to. None: the system's choice.
    SocketAddress local = {};
    // What waits when the system has no room. One datagram always may.
    size_t max_queued_datagrams = 1024;
    size_t max_queued_bytes = 1024 * 1024;
  };
  // Monotonic.
  struct Counters {
    uint64_t received = 0;
    uint64_t received_bytes = 0;
    uint64_t truncated = 0;
    uint64_t sent = 0;  // the system has taken them
    uint64_t sent_bytes = 0;
    uint64_t dropped_queue = 0;  // kDropped
    // Arrived, and found no room (Linux; modulo 2^32; datagrams that were joined count as one).
    uint64_t dropped_system = 0;
    uint64_t errors = 0;  // what OnError tells, and what it does not
  };

  // Receives from now on. Port 0 takes a free port, see local_address(). Errors: kAlreadyExists (in
  // use), kInvalidArgument, kPermissionDenied, kUnimplemented (an engine without datagrams), ...;
  // they name the address.
  static absl::StatusOr<std::unique_ptr<UdpSocket>> Bind(EventLoop& loop,
                                                         const SocketAddress& local,
                                                         const Options& options,
                                                         UdpHandler& handler);

  // A socket for one peer: only its datagrams are received. Nothing is sent by this, and so no peer
  // need be there.
  static absl::StatusOr<std::unique_ptr<UdpSocket>> Connect(EventLoop& loop,
                                                            const SocketAddress& peer,
                                                            const Options& options,
                                                            UdpHandler& handler);
  ~UdpSocket() override;

  // Copies. Without a peer: to the one that the socket is connected to.
  UdpSendResult Send(absl::Span<const uint8_t> bytes, const DatagramSendOptions& options = {}) {
    return Send(bytes, nullptr, options, false);
  }
  UdpSendResult Send(absl::Span<const uint8_t> bytes, const SocketAddress& peer,
                     const DatagramSendOptions& options = {}) {
    return Send(bytes, &peer, options, false);
  }

  // Sends bytes that stay as they are until the callback of this socket that is running returns,
  // such as those that were received, without copying them unless they have to wait. Elsewhere it
  // copies.
  UdpSendResult SendLent(absl::Span<const uint8_t> bytes, const DatagramSendOptions& options = {}) {
    return Send(bytes, nullptr, options, true);
  }
  UdpSendResult SendLent(absl::Span<const uint8_t> bytes, const SocketAddress& peer,
                         const DatagramSendOptions& options = {}) {
    return Send(bytes, &peer, options, true);
  }

  // What arrives meanwhile waits in the system's buffer, as far as that goes. Takes effect with the
  // next callback.
  void PauseReceiving();
  void ResumeReceiving();

  // Multicast. Errors: kInvalidArgument (no group), kNotFound (no such interface), kAlreadyExists
  // (it is a member), kUnavailable (it is none), ...
  absl::Status JoinGroup(const MulticastGroup& group);
  absl::Status LeaveGroup(const MulticastGroup& group);

  void Close();
  bool closed() const { return left(); }

  void SetHandler(UdpHandler& handler) { handler_ = &handler; }
  EventLoop& loop() const { return owning_loop(); }
  const SocketAddress& local_address() const { return local_; }
  const SocketAddress& peer_address() const { return peer_; }  // none: not connected
  size_t queued_datagrams() const;  // gathered, or waiting for the system
  Counters counters() const;

 private:
  struct Gathered;
  struct Waiting;

  UdpSocket(EventLoop& loop, const Options& options, UdpHandler& handler);
  absl::Status Open(const SocketAddress& local, const DatagramOptions& options);
  absl::Status ConnectTo(const SocketAddress& peer);

  // Poller::Socket:
  void OnDatagrams(absl::Span<const ReceivedDatagram> datagrams) override;
  void OnDatagramError(int error, const SocketAddress& peer) override;
  void OnSendReady() override;
  void OnError(int error) override;
  void OnConnect(int) override {}
  void OnReceive(absl::Span<uint8_t>) override {}
  void OnReceiveEnd() override {}
  // EventLoop::Member:
  void Settle() override;
  void OnDrain() override;
  void End(const absl::Status& status) override;

  UdpSendResult Send(absl::Span<const uint8_t> bytes, const SocketAddress* peer,
                     const DatagramSendOptions& options, bool lent);
  bool MakeRoom(size_t bytes);
  bool MayWait(size_t bytes) const;
  void Gather(const OutgoingDatagram& datagram, bool lent);
  void FlushGathered();
  void FlushWaiting();
  size_t SendSome(absl::Span<const OutgoingDatagram> datagrams);
  void Wait(const OutgoingDatagram& datagram);
  UdpSendResult Refuse(int error, const SocketAddress* peer);
  void NoteError(int error, const SocketAddress* peer);
  bool Tell(int error, absl::string_view operation, const SocketAddress& where, SocketAddress peer);

  UdpHandler* handler_;
  const size_t max_queued_datagrams_;
  const size_t max_queued_bytes_;
  SocketAddress local_;
  SocketAddress peer_;
  std::unique_ptr<Gathered> gathered_;  // while something is
  std::unique_ptr<Waiting> waiting_;    // while something is; then the engine will say when it goes
  bool ready_owed_ = false;             // a Send has answered kDropped
  int send_error_ = 0;                  // to be told,
  SocketAddress failed_peer_;           // and of whom
  Counters counters_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_UDP_H_
