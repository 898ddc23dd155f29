#include "sluice/tools/udp_echo_server.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "sluice/core/udp.h"

namespace sluice::tools {
namespace {

// How long nothing must have come before it counts as quiet, and how long Stop waits for that.
constexpr absl::Duration kQuiet = absl::Milliseconds(20);
constexpr absl::Duration kMaxGrace = absl::Seconds(1);

}  // namespace

// The socket of one loop.
class UdpEchoServer::Place final : private UdpHandler {
 public:
  absl::Status Bind(EventLoop& loop, const SocketAddress& local, bool reuse_port) {
    // A socket with one address sends from it anyway.
    has_many_addresses_ = local.is_any();
    UdpSocket::Options options;
    options.datagram.reuse_port = reuse_port;
    options.datagram.receive_local = has_many_addresses_;
    absl::StatusOr<std::unique_ptr<UdpSocket>> socket =
        UdpSocket::Bind(loop, local, options, *this);
    if (!socket.ok()) return socket.status();
    socket_ = *std::move(socket);
    return absl::OkStatus();
  }

  const SocketAddress& address() const { return socket_->local_address(); }
  size_t queued() const { return socket_->queued_datagrams(); }
  UdpSocket::Counters counters() const { return socket_->counters(); }
  void Close() { socket_.reset(); }

 private:
  void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) override {
    for (const ReceivedDatagram& datagram : datagrams) {
      socket.SendLent(datagram.bytes, *datagram.peer,
                      {.source = has_many_addresses_ ? datagram.local : nullptr});
    }
  }

  bool has_many_addresses_ = false;
  std::unique_ptr<UdpSocket> socket_;
};

UdpEchoServer::UdpEchoServer() = default;

absl::StatusOr<std::unique_ptr<UdpEchoServer>> UdpEchoServer::Start(const Options& options) {
  std::unique_ptr<UdpEchoServer> server(new UdpEchoServer);
  absl::StatusOr<std::unique_ptr<LoopGroup>> group = LoopGroup::Start(
      {.threads = options.threads, .poller = options.poller, .busy_poll = options.busy_poll});
  if (!group.ok()) return group.status();
  server->group_ = *std::move(group);
  for (int i = 0; i < options.threads; ++i) server->places_.push_back(std::make_unique<Place>());
  if (absl::Status status = server->Bind(options); !status.ok()) return status;
  return server;
}

// Sockets that share a port also share it with those of another process that do. Unless that is
// wanted, one that does not share has the port first, so that one in use is an error.
absl::Status UdpEchoServer::Bind(const Options& options) {
  const bool share = options.reuse_port || options.threads > 1;
  address_ = options.listen;
  absl::Status status;
  group_->RunOnEach([&](EventLoop& loop, int index) {
    Place& place = *places_[static_cast<size_t>(index)];
    if (index == 0 && share && !options.reuse_port) {
      status = place.Bind(loop, address_, /*reuse_port=*/false);
      if (!status.ok()) return;
      address_ = place.address();
      place.Close();
    }
    if (status.ok()) status = place.Bind(loop, address_, share);
    if (status.ok()) address_ = place.address();
  });
  return status;
}

UdpEchoServer::~UdpEchoServer() {
  if (group_ == nullptr) return;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    if (static_cast<size_t>(index) < places_.size()) places_[static_cast<size_t>(index)]->Close();
  });
}

UdpEchoTotals UdpEchoServer::Totals() {
  UdpEchoTotals totals;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    const UdpSocket::Counters counters = places_[static_cast<size_t>(index)]->counters();
    totals.datagrams += counters.received;
    totals.bytes += counters.received_bytes;
    totals.unread += counters.dropped_system;
    totals.unsent += counters.dropped_queue;
    totals.errors += counters.errors;
  });
  return totals;
}

bool UdpEchoServer::HasQueued() {
  size_t queued = 0;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    queued += places_[static_cast<size_t>(index)]->queued();
  });
  return queued > 0;
}

void UdpEchoServer::AwaitQuiet(absl::Duration grace) {
  uint64_t seen = Totals().datagrams;
  for (absl::Duration waited; waited < grace; waited += kQuiet) {
    absl::SleepFor(kQuiet);
    const uint64_t now = Totals().datagrams;
    if (now == seen && !HasQueued()) return;
    seen = now;
  }
}

UdpEchoTotals UdpEchoServer::Stop(absl::Duration timeout) {
  AwaitQuiet(std::min(kMaxGrace, timeout));
  return Totals();
}

}  // namespace sluice::tools
