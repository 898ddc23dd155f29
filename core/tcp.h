// Streams over the system's stream sockets, TCP and Unix: Listener accepts them, Connector makes
// them. Addresses only; names are the resolver's.
//
// Example: an echo server on one loop.
//
//   class Echo : public StreamHandler {
//     void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
//       if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }
//   };
//   Echo echo;  // has no state, so one serves all; it outlives the loop, and so all streams
//   std::unique_ptr<EventLoop> loop = *EventLoop::Create();
//   auto listener = Listener::Listen(
//       *loop, *SocketAddress::Parse("127.0.0.1:9000"), {},
//       [&](std::unique_ptr<Stream> stream) { Stream::Run(std::move(stream), echo); });
//   loop->Run();
//
// Loop-bound. A Listener and a Connector must be destroyed before their loop.
#ifndef SLUICE_CORE_TCP_H_
#define SLUICE_CORE_TCP_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"

namespace sluice {

// Listener accepts connections on one address and hands each to a function as a Stream, which has
// no handler yet. While the process is out of descriptors or memory, it sheds (accepts and closes,
// with a descriptor kept in reserve), and backs off for 10 ms to 1 s before it tries again.
class Listener {
 public:
  struct Options {
    ListenOptions listen = {};
    // A peer that vanishes without a word is noticed by nothing but a deadline, so there is one.
    StreamOptions stream = {.idle_timeout = absl::Minutes(5)};
    // Open connections that came from this listener; at the limit it stops accepting, and further
    // ones wait in the system's queue (`backlog`), until one closes. At least 1.
    int max_connections = 100'000;
    // Told of each backoff, with why: kResourceExhausted, "127.0.0.1:9000: accept: Too many open
    // files (...)". On the loop's thread. May destroy the Listener.
    std::function<void(const absl::Status&)> on_shortage = nullptr;
  };
  struct Counters {
    uint64_t accepted = 0;
    uint64_t shed = 0;      // closed at once for want of descriptors
    uint64_t backoffs = 0;  // pauses after such a failure
  };
  using AcceptFunction = absl::AnyInvocable<void(std::unique_ptr<Stream>)>;

  // Listens from now on. Port 0 takes a free port, see address(). A path that a dead process has
  // left behind is replaced; one on which somebody listens, and anything that is no socket, is not
  // (kAlreadyExists). Two processes that start on one path at the same moment may replace each
  // other's; who does that holds a lock of his own meanwhile.
  static absl::StatusOr<std::unique_ptr<Listener>> Listen(EventLoop& loop,
                                                          const SocketAddress& address,
                                                          const Options& options,
                                                          AcceptFunction on_accept);

  // A further listener on the socket of `other`, whose loop runs on another thread of this process:
  // both accept from one queue. For Unix sockets, which know no SO_REUSEPORT. `other` must not be
  // destroyed meanwhile.
  static absl::StatusOr<std::unique_ptr<Listener>> ListenShared(EventLoop& loop,
                                                                const Listener& other,
                                                                const Options& options,
                                                                AcceptFunction on_accept);

  // Closes the listening socket (and removes a Unix socket's path, unless another file has taken
  // its place). Accepted streams live on.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  SocketAddress address() const;
  int connections() const;  // open now
  Counters counters() const;

 private:
  class Impl;
  explicit Listener(Impl* impl) : impl_(impl) {}
  static absl::StatusOr<std::unique_ptr<Listener>> Make(
      Impl* impl, absl::FunctionRef<absl::Status(Impl&)> listen);
  Impl* const impl_;
};

// Connector makes one connection. Destroying it, or Cancel, gives the attempt up; the function is
// then not called.
class Connector {
 public:
  struct Options {
    SocketOptions socket = {};
    StreamOptions stream = {};
    absl::Duration timeout = absl::Seconds(10);
  };
  // Gets the stream, or: kDeadlineExceeded, kUnavailable (refused, unreachable), ...; the message
  // names the address. Never called from inside Connect. May destroy the Connector.
  using ConnectFunction = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>)>;

  explicit Connector(EventLoop& loop);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // One attempt at a time: a new call gives up the one under way.
  void Connect(const SocketAddress& address, const Options& options, ConnectFunction on_connect);
  void Cancel();
  bool connecting() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_TCP_H_
