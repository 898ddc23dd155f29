// ManualClockPoller is another engine with a clock that moves only when the test says so: real
// connections with deadlines that depend on nothing but the test. A Wait that would sleep looks for
// a millisecond of the real clock instead.
//
// Example:
//   auto poller = std::make_unique<ManualClockPoller>(*CreatePoller(PollerKind::kEpoll));
//   ManualClockPoller& clock = *poller;
//   EventLoop loop(std::move(poller));
//   stream->SetIdleTimeout(absl::Seconds(30));
//   clock.now += absl::Seconds(31);
//   loop.RunOnce(absl::ZeroDuration());                          // the stream has ended
//
// Loop-bound, but Wake, which is thread-safe.
#ifndef SLUICE_CORE_MANUAL_CLOCK_POLLER_H_
#define SLUICE_CORE_MANUAL_CLOCK_POLLER_H_

#include <memory>
#include <utility>

#include "sluice/core/datagram.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class ManualClockPoller final : public Poller {
 public:
  explicit ManualClockPoller(std::unique_ptr<Poller> poller) : poller_(std::move(poller)) {
    set_receive_block(poller_->receive_block());
  }

  MonotonicTime now = MonotonicTime() + absl::Hours(1);

  absl::string_view name() const override { return poller_->name(); }
  MonotonicTime Now() override { return now; }
  size_t Wait(MonotonicTime deadline) override {
    return poller_->Wait(deadline <= now ? MonotonicTime()
                                         : poller_->Now() + absl::Milliseconds(1));
  }
  void Wake() override { poller_->Wake(); }

  absl::Status Listen(Acceptor& acceptor, const SocketAddress& address,
                      const ListenOptions& options) override {
    return poller_->Listen(acceptor, address, options);
  }
  absl::Status ListenShared(Acceptor& acceptor, const Acceptor& other) override {
    return poller_->ListenShared(acceptor, other);
  }
  void PauseAccepting(Acceptor& acceptor) override { poller_->PauseAccepting(acceptor); }
  void ResumeAccepting(Acceptor& acceptor) override { poller_->ResumeAccepting(acceptor); }
  void Close(Acceptor& acceptor) override { poller_->Close(acceptor); }
  SocketAddress LocalAddress(const Acceptor& acceptor) const override {
    return poller_->LocalAddress(acceptor);
  }
  absl::Status Connect(Socket& socket, const SocketAddress& address,
                       const SocketOptions& options) override {
    return poller_->Connect(socket, address, options);
  }
  void Attach(Socket& socket, Accepted accepted) override {
    poller_->Attach(socket, std::move(accepted));
  }
  void StartReceiving(Socket& socket) override { poller_->StartReceiving(socket); }
  void StopReceiving(Socket& socket) override { poller_->StopReceiving(socket); }
  int Send(Socket& socket, Buffer& queue) override { return poller_->Send(socket, queue); }
  FileSent SendFile(Socket& socket, int file, uint64_t offset, size_t length) override {
    return poller_->SendFile(socket, file, offset, length);
  }
  size_t UnacknowledgedBytes(const Socket& socket) const override {
    return poller_->UnacknowledgedBytes(socket);
  }
  void ShutdownSend(Socket& socket) override { poller_->ShutdownSend(socket); }
  void Close(Socket& socket, bool abort) override { poller_->Close(socket, abort); }
  SocketAddress LocalAddress(const Socket& socket) const override {
    return poller_->LocalAddress(socket);
  }
  absl::Status OpenDatagrams(Socket& socket, const SocketAddress& local,
                             const DatagramOptions& options) override {
    return poller_->OpenDatagrams(socket, local, options);
  }
  absl::Status ConnectDatagrams(Socket& socket, const SocketAddress& peer) override {
    return poller_->ConnectDatagrams(socket, peer);
  }
  DatagramsSent SendDatagrams(Socket& socket,
                              absl::Span<const OutgoingDatagram> datagrams) override {
    return poller_->SendDatagrams(socket, datagrams);
  }
  absl::Status JoinGroup(Socket& socket, const MulticastGroup& group) override {
    return poller_->JoinGroup(socket, group);
  }
  absl::Status LeaveGroup(Socket& socket, const MulticastGroup& group) override {
    return poller_->LeaveGroup(socket, group);
  }
  uint64_t DroppedDatagrams(const Socket& socket) const override {
    return poller_->DroppedDatagrams(socket);
  }

 protected:
  void CloseAccepted(int32_t) override {}  // an Accepted knows the engine that made it

 private:
  const std::unique_ptr<Poller> poller_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MANUAL_CLOCK_POLLER_H_
