// Dialer makes connections for clients, and says how: directly, through a proxy, with TLS. One
// stands on another (tls::Dialer over proxy::Socks5Dialer over DirectDialer), and whatever protocol
// is spoken over the Stream that comes out of it knows nothing of that.
//
// Example:
//   DirectDialer dialer;
//   std::unique_ptr<Dialer::Attempt> attempt = dialer.Dial(
//       loop, {.host = "127.0.0.1", .port = 9000}, {.timeout = absl::Seconds(3)},
//       [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
//         if (stream.ok()) Stream::Run(*std::move(stream), handler);
//       });
//
// The deadline, DialOptions::timeout, is one for the whole of it: each layer passes on what is
// left.
//
// Errors have the code that their layer has for them, and name the address, proxy or server and the
// step that failed.
//
// Thread-compatible: a Dialer is not changed by dialing, so one may be shared by all loops (and is
// therefore held by shared_ptr<const Dialer>). Attempts are loop-bound.
#ifndef SLUICE_CORE_DIALER_H_
#define SLUICE_CORE_DIALER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"

namespace sluice {

// Whom to connect to: a name, to be resolved by whoever connects, or an address.
struct Endpoint {
  std::string host = {};  // "example.com", "127.0.0.1", "::1": no brackets
  uint16_t port = 0;

  // "example.com:443", "[::1]:443".
  std::string ToString() const;

  // kInvalidArgument, with what is accepted, unless the port is not 0 and the host is an address or
  // has at most 255 letters, digits, '-', '.' and '_', which is all that a name can have.
  absl::Status Check() const;

  // The address that the host is; none (Family::kNone) for a name.
  SocketAddress Address() const;
};

struct DialOptions {
  absl::Duration timeout = absl::Seconds(10);
  StreamOptions stream = {};  // of the finished stream
  SocketOptions socket = {};  // of the connection beneath
};

class Dialer {
 public:
  // A connection in the making. Destroyed before it is done, it is given up, and the function not
  // called.
  class Attempt {
   public:
    Attempt() = default;
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;
    virtual ~Attempt() = default;
  };

  // Gets the stream, which has no handler yet, or why there is none. Called once, by the loop,
  // never from inside Dial. May destroy the attempt.
  using DialFunction = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>)>;

  Dialer() = default;
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;
  virtual ~Dialer() = default;

  // The attempt is to be destroyed before its loop; the dialer may go earlier.
  virtual std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                        const DialOptions& options, DialFunction done) const = 0;

 protected:
  // For what is found wrong at once: an attempt that tells that.
  static std::unique_ptr<Attempt> Fail(EventLoop& loop, absl::Status status, DialFunction done);
};

// DirectDialer connects by TCP to the address that the endpoint is. A name it refuses
// (kInvalidArgument): that needs a resolver, or a proxy that resolves.
class DirectDialer final : public Dialer {
 public:
  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override;
};

// FixedDialer connects to one address, whatever is dialed: a Unix socket, a server whose name is
// not to be looked up, a test's.
class FixedDialer final : public Dialer {
 public:
  explicit FixedDialer(const SocketAddress& address) : address_(address) {}

  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override;

 private:
  const SocketAddress address_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_DIALER_H_
