// Tunnel is what the attempts of both kinds of proxies' clients have in common: a connection to the
// proxy, a conversation on it under a deadline, and the stream that is handed on afterwards. It
// receives no more than what it expects, so that what the server behind the proxy says first is
// left for the stream's user.
//
// Example: see http_connect.cc and socks5.cc.
//
// Loop-bound.
#ifndef SLUICE_PROTOCOLS_PROXY_INTERNAL_TUNNEL_H_
#define SLUICE_PROTOCOLS_PROXY_INTERNAL_TUNNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"

namespace sluice::proxy::internal {

// kInvalidArgument unless it can be named to a proxy: Endpoint::Check, and no interface of this
// host
// ("fe80::1%eth0").
absl::Status CheckTarget(const Endpoint& target);

class Tunnel : public Dialer::Attempt, private StreamHandler {
 public:
  // To the proxy, through `lower`.
  void Dial(const Dialer& lower);

 protected:
  static constexpr size_t kMostExpected = 512;

  // `request` is what messages say of it: "CONNECT example.com:443".
  Tunnel(EventLoop& loop, const Endpoint& proxy, absl::string_view request,
         const DialOptions& options, Dialer::DialFunction done);

  // The proxy is there: Send and Expect.
  virtual void OnConnected() = 0;
  // The bytes that were expected. Asks for more, or ends it.
  virtual void OnExpected(absl::Span<const uint8_t> bytes) = 0;

  void Send(absl::string_view bytes) { stream_->Send(bytes); }
  // From 1 to kMostExpected: all of them at once, or as they come, in which case OnExpected has to
  // ask for the rest.
  void Expect(size_t size) { Expect(size, size); }
  void ExpectUpTo(size_t size) { Expect(1, size); }

  // After either this may be gone.
  void Succeed();
  void Fail(absl::StatusCode code, absl::string_view why);

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd(Stream& stream) override;
  void OnDrain(Stream& stream) override;
  void OnClose(Stream& stream, const absl::Status& status) override;

  void Expect(size_t least, size_t most);
  void Finish(absl::StatusOr<std::unique_ptr<Stream>> stream);

  EventLoop& loop_;
  const Endpoint proxy_;
  const std::string what_;
  const DialOptions options_;
  const MonotonicTime deadline_;
  Dialer::DialFunction done_;
  std::unique_ptr<Attempt> lower_;
  std::array<uint8_t, kMostExpected> storage_;
  size_t least_ = 0;
  size_t received_ = 0;
  std::unique_ptr<Stream> stream_;
  Timer timer_;
};

}  // namespace sluice::proxy::internal

#endif  // SLUICE_PROTOCOLS_PROXY_INTERNAL_TUNNEL_H_
