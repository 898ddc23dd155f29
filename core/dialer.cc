#include "sluice/core/dialer.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/host_name.h"
#include "sluice/core/tcp.h"
#include "sluice/core/timer.h"

namespace sluice {
namespace {

class FailedAttempt final : public Dialer::Attempt {
 public:
  FailedAttempt(EventLoop& loop, absl::Status status, Dialer::DialFunction done)
      : timer_([this] { Tell(); }), status_(std::move(status)), done_(std::move(done)) {
    loop.ArmTimer(timer_, absl::ZeroDuration());
  }

 private:
  void Tell() {
    Dialer::DialFunction done = std::move(done_);
    done(std::move(status_));  // may destroy this
  }

  Timer timer_;
  absl::Status status_;
  Dialer::DialFunction done_;
};

class ConnectAttempt final : public Dialer::Attempt {
 public:
  ConnectAttempt(EventLoop& loop, const SocketAddress& address, const DialOptions& options,
                 Dialer::DialFunction done)
      : connector_(loop) {
    connector_.Connect(
        address, {.socket = options.socket, .stream = options.stream, .timeout = options.timeout},
        std::move(done));
  }

 private:
  Connector connector_;
};

}  // namespace

std::string Endpoint::ToString() const {
  return absl::StrContains(host, ':') ? absl::StrCat("[", absl::CHexEscape(host), "]:", port)
                                      : absl::StrCat(absl::CHexEscape(host), ":", port);
}

SocketAddress Endpoint::Address() const { return internal::LiteralAddress(host).WithPort(port); }

absl::Status Endpoint::Check() const {
  if (absl::Status status = internal::CheckHost(host); !status.ok()) return status;
  if (port == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToString(), ": the port must be from 1 to 65535"));
  }
  return absl::OkStatus();
}

std::unique_ptr<Dialer::Attempt> Dialer::Fail(EventLoop& loop, absl::Status status,
                                              DialFunction done) {
  return std::make_unique<FailedAttempt>(loop, std::move(status), std::move(done));
}

std::unique_ptr<Dialer::Attempt> DirectDialer::Dial(EventLoop& loop, const Endpoint& endpoint,
                                                    const DialOptions& options,
                                                    DialFunction done) const {
  if (absl::Status status = endpoint.Check(); !status.ok())
    return Fail(loop, std::move(status), std::move(done));
  const SocketAddress address = endpoint.Address();
  if (address.family() == SocketAddress::Family::kNone) {
    return Fail(loop,
                absl::InvalidArgumentError(absl::StrCat(
                    endpoint.ToString(),
                    ": a direct connection needs an IP address; a name needs a resolver, or a "
                    "proxy that resolves it")),
                std::move(done));
  }
  return std::make_unique<ConnectAttempt>(loop, address, options, std::move(done));
}

std::unique_ptr<Dialer::Attempt> FixedDialer::Dial(EventLoop& loop, const Endpoint& /*endpoint*/,
                                                   const DialOptions& options,
                                                   DialFunction done) const {
  return std::make_unique<ConnectAttempt>(loop, address_, options, std::move(done));
}

}  // namespace sluice
