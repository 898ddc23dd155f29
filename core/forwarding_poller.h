// ForwardingPoller is an engine that passes on to another one whatever it is asked for: the base of
// tests' engines that differ from a real one in a single respect, such as ManualClockPoller
// (manual_clock_poller.h).
//
// Loop-bound, but Wake, which is thread-safe.
#ifndef SLUICE_CORE_FORWARDING_POLLER_H_
#define SLUICE_CORE_FORWARDING_POLLER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/datagram.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice {

class ForwardingPoller : public Poller {
 public:
  explicit ForwardingPoller(std::unique_ptr<Poller> poller) : poller_(std::move(poller)) {
    set_receive_block(poller_->receive_block());
  }

  absl::string_view name() const override { return poller_->name(); }
  MonotonicTime Now() override { return poller_->Now(); }
  bool clock_runs() const override { return poller_->clock_runs(); }
  size_t Wait(MonotonicTime deadline) override { return poller_->Wait(deadline); }
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
  int SendPipe(Socket& socket, internal::Pipe& pipe) override {
    return poller_->SendPipe(socket, pipe);
  }
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

  Poller& real() { return *poller_; }

 private:
  const std::unique_ptr<Poller> poller_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_FORWARDING_POLLER_H_
