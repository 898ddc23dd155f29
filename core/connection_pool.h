// ConnectionPool keeps a client's connections open between requests and lends them out. It is one
// loop's; what it lends are the Streams themselves, so nothing stands between a user and the bytes.
// It speaks no protocol: whether a connection can serve another request is for its user to say.
//
// Example: a client of a server that answers a line for a line.
//
//   class Asker : public StreamHandler {
//    public:
//     Asker(ConnectionPool& pool, ConnectionPool::Target target)
//         : pool_(pool), target_(std::move(target)) {}
//     void Ask() {
//       if ((lease_ = pool_.TryBorrow(target_))) return Send();
//       Wait({.timeout = absl::Seconds(3)});
//     }
//
//    private:
//     void Wait(const ConnectionPool::BorrowOptions& options) {
//       request_ = pool_.Borrow(target_, options, [this](absl::StatusOr<ConnectionPool::Lease> l) {
//         if (!l.ok()) return Fail(l.status());
//         lease_ = *std::move(l);
//         Send();
//       });
//     }
//     void Send() {
//       lease_.stream().SetHandler(*this);
//       lease_.stream().Send("question\n");
//     }
//     void OnReceive(Stream&, absl::Span<uint8_t> bytes) override {
//       answer_.append(bytes.begin(), bytes.end());
//       if (absl::EndsWith(answer_, "\n")) lease_.Return();
//     }
//     void OnClose(Stream&, const absl::Status& status) override {
//       // The server may have closed it just as it was borrowed: once more, on a new one.
//       const bool again = lease_.reused() && answer_.empty();
//       lease_ = {};
//       again ? Wait({.timeout = absl::Seconds(3), .fresh_only = true}) : Fail(status);
//     }
//     ...
//   };
//
//   auto pool = *ConnectionPool::Create(loop, {.target = {.max_open = 64}});
//   auto target = *pool->GetTarget({.host = "127.0.0.1", .port = 9000}, dialer);
//   Asker asker(*pool, target);
//   asker.Ask();
//
// Which one. The connection that was returned last is lent first, so that those that are not needed
// come of age. While it is idle the pool is its handler and receives: an end, an error or a byte
// that nobody asked for takes it out at once, without a round trip. What has arrived and was not
// yet delivered by the loop cannot be known, however, nor what is still on its way: a server that
// closes as we borrow is met by retrying what may be retried, if the lease is reused(). A server
// that speaks first needs a Dialer that hears it out.
//
// Waiting. Requests for one target are served in the order in which they came. When it is the limit
// of the whole pool that they wait for, what is idle, closing, or being dialed for nobody makes
// room; and room goes to the target that has the fewest connections, of several to the one whose
// last turn is longest ago. So that all come to have about as many, a target that has at least two
// more than that one gives up what comes back to it; and where there are more targets than
// connections, each gives up its own when another's turn has come.
//
// Draining. After Drain nothing is lent: requests get kCancelled, new ones kFailedPrecondition, and
// what comes back is closed. The drain of the loop does the same while it lasts (both get
// kCancelled).
//
// One pool a loop, and none that loops share: a Stream belongs to its loop for good, so for a
// connection that one loop borrowed of another, all that is sent and received would go through
// Post. A question to another loop and its answer take 200 times what borrowing and returning do
// (connection_pool_benchmark); a connection more for each loop and server costs some memory, once.
//
// Loop-bound. The pool goes before its loop; targets, leases and requests go when they like. When
// it is destroyed, idle connections are cut, requests are given up, and lent connections stay with
// their leases, which then close what they have.
#ifndef SLUICE_CORE_CONNECTION_POOL_H_
#define SLUICE_CORE_CONNECTION_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/pool_statistics.h"
#include "sluice/core/stream.h"

namespace sluice {

namespace internal {
class PoolRequest;
class PoolState;
struct PooledConnection;
struct PooledTarget;
}  // namespace internal

class ConnectionPool {
 public:
  struct TargetOptions {
    size_t max_open = 64;  // of the target's PoolCounts::open(); at least 1
    size_t max_idle = 64;  // beyond it, those are closed that have been idle for longest
    size_t min_idle = 0;   // so many are kept in reserve as long as somebody has the Target
    // Requests that wait, those being dialed for among them; at least 1. Those whose connection
    // ended before they heard of it wait again, if need be above that: at most max_open more.
    size_t max_waiting = 1024;
  };

  // Asks an idle connection whether it works, at the cost of a round trip. The function sends what
  // it likes and returns the handler of the answer, which calls `done` once, in any of its calls or
  // its constructor, and not after it was destroyed. The pool destroys it after that, when the time
  // is up, or when the pool drains or goes. It may drain the pool, but not destroy it.
  using CheckDone = absl::AnyInvocable<void(bool healthy)>;
  using CheckFunction =
      absl::AnyInvocable<std::unique_ptr<StreamHandler>(Stream& stream, CheckDone done)>;

  struct Options {
    TargetOptions target = {};  // of targets for which no others are given
    // The same for all targets together.
    size_t max_open = 1024;
    size_t max_idle = 256;
    size_t max_waiting = 16 * 1024;
    // Best shorter than the servers'.
    absl::Duration idle_timeout = absl::Seconds(45);
    // After it, a connection is closed when it is not lent; up to so much of it earlier, by chance,
    // so that what was opened together does not end together.
    absl::Duration life_time = absl::InfiniteDuration();
    double life_time_jitter = 0.1;
    // Of every connection. A stream's idle timeout, here or set by a user, also counts while the
    // connection is idle in the pool.
    DialOptions dial = {};
    // Where there is one, connections that have been idle for so long are lent only after it, and
    // never by TryBorrow. One that does not answer in time takes the target's others with it that
    // have been idle for as long or longer.
    CheckFunction check = nullptr;
    absl::Duration check_after = absl::Seconds(1);
    absl::Duration check_timeout = absl::Seconds(1);
    // Pauses between attempts to keep min_idle, when dials fail or what they made ends unused. They
    // double.
    absl::Duration least_backoff = absl::Milliseconds(100);
    absl::Duration most_backoff = absl::Seconds(10);
    uint64_t seed = 0;  // of what is drawn by chance; 0: from the loop's clock
  };

  // A place to connect to, and how: connections are shared by whoever has the same endpoint and the
  // same Dialer object. Copies are the same target; a target without any is forgotten with its last
  // connection.
  class Target {
   public:
    Target() = default;  // none
    Target(const Target& other);
    Target(Target&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    Target& operator=(Target other) noexcept {
      std::swap(state_, other.state_);
      return *this;
    }
    ~Target();

    PoolCounts counts() const;
    const Endpoint& endpoint() const;

   private:
    friend class ConnectionPool;
    explicit Target(internal::PooledTarget& state);
    internal::PooledTarget* state_ = nullptr;
  };

  // The use of a connection. Move-only. Destroyed without Return, it cuts the connection, which
  // never goes back: for a user that has closed or broken it, or is in the middle of something.
  //
  // Who is to own a stream, and use it once (a Forwarder, say), takes it out; the lease then is its
  // place within the limits, to be destroyed when the stream is no more.
  class Lease {
   public:
    Lease() = default;  // none
    Lease(Lease&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
    Lease& operator=(Lease other) noexcept {
      std::swap(connection_, other.connection_);
      return *this;
    }
    ~Lease() {
      if (connection_ != nullptr) Drop();
    }

    explicit operator bool() const { return connection_ != nullptr; }

    // Its handler is to be set, or taken away (ClearHandler) until there is one, before the loop
    // goes on: bytes or an end that come before abort it. It has the options that its last user has
    // left.
    Stream& stream() const;

    // Whether it was open before it was asked for, so that the server may be closing it right now.
    bool reused() const;

    // Gives it back, for the next request: all that was asked has been answered, to the last byte,
    // and neither side has ended (ShutdownSend, OnReceiveEnd), which a stream does not show: it
    // would go to the next request and be of no use there. What can be seen to be wrong is cut
    // instead: a stream that is closing or paused, or has bytes in its queue. What was to be
    // received into storage (ReceiveInto) is forgotten. The lease is none then. The handler is not
    // called any more.
    void Return();

    // The stream, which has no handler then. Not to be followed by stream(), Return or another one.
    std::unique_ptr<Stream> TakeStream();

   private:
    friend class internal::PoolState;
    friend class internal::PoolRequest;
    explicit Lease(internal::PooledConnection& connection) : connection_(&connection) {}
    void Drop();
    internal::PooledConnection* connection_ = nullptr;
  };

  // Gets the lease, or why there is none:
  //   kDeadlineExceeded     no connection within the timeout
  //   kResourceExhausted    none is idle, and too many others wait
  //   kFailedPrecondition   the pool is draining, or has
  //   kCancelled            it began to, or its loop did
  //   what the Dialer says  a dial that began after the request did has failed, and no other
  //                         request has waited longer
  // Called once, by the loop, never from inside Borrow. May destroy request and pool.
  using BorrowFunction = absl::AnyInvocable<void(absl::StatusOr<Lease>)>;

  // A lease that was asked for. Move-only. Destroyed before the function was called, it is given
  // up, and the connection goes to the next.
  class Request {
   public:
    Request();  // none
    Request(Request&& other) noexcept;
    Request& operator=(Request&& other) noexcept;
    ~Request();

   private:
    friend class ConnectionPool;
    explicit Request(std::unique_ptr<internal::PoolRequest> state);
    std::unique_ptr<internal::PoolRequest> state_;
  };

  struct BorrowOptions {
    absl::Duration timeout = absl::Seconds(10);
    bool fresh_only = false;  // a connection that is made now
  };

  // kInvalidArgument where the options contradict one another; the message says what is accepted.
  static absl::StatusOr<std::unique_ptr<ConnectionPool>> Create(EventLoop& loop, Options options);
  ~ConnectionPool();
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  // Once for many borrows: it looks the target up. Options that are given replace those that the
  // target has. Errors: as Create. The dialer may use the pool in its Dial, but not destroy it.
  absl::StatusOr<Target> GetTarget(const Endpoint& endpoint, std::shared_ptr<const Dialer> dialer);
  absl::StatusOr<Target> GetTarget(const Endpoint& endpoint, std::shared_ptr<const Dialer> dialer,
                                   const TargetOptions& options);

  // An idle connection, or none.
  Lease TryBorrow(const Target& target);

  // An idle connection, or one that comes back, or a new one.
  Request Borrow(const Target& target, const BorrowOptions& options, BorrowFunction done);

  // From now on nothing is lent or dialed. Leases are awaited until `timeout`, and what is open
  // then is aborted with kDeadlineExceeded (but not streams that were taken out). Then, by the
  // loop, `done`. It cannot be undone; a second drain replaces the first one's deadline and `done`.
  void Drain(absl::Duration timeout, absl::AnyInvocable<void()> done);

  const PoolStatistics& statistics() const;
  EventLoop& loop() const;

 private:
  explicit ConnectionPool(std::unique_ptr<internal::PoolState> state);
  const std::unique_ptr<internal::PoolState> state_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_CONNECTION_POOL_H_
