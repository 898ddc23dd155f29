#include "sluice/core/dialer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "sluice/core/tcp.h"
#include "sluice/core/timer.h"

namespace sluice {
namespace {

constexpr size_t kMostHostBytes = 255;

bool IsName(absl::string_view host) {
  return !host.empty() && host.size() <= kMostHostBytes &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' ||
                  c == '_';
         });
}

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

SocketAddress Endpoint::Address() const {
  // SocketAddress knows more than addresses of hosts, and the number of an interface may stand
  // among white space.
  const bool plain = std::all_of(host.begin(), host.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '*' && c != '[' && c != ']';
  });
  if (!plain || absl::StartsWith(host, "unix:")) return {};
  const absl::StatusOr<SocketAddress> address =
      SocketAddress::Parse(absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port)
                                                        : absl::StrCat(host, ":", port));
  return address.ok() && address->is_ip() ? *address : SocketAddress();
}

absl::Status Endpoint::Check() const {
  if (Address().family() == SocketAddress::Family::kNone && !IsName(host)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(host),
                     "\" is no host: it must be an IPv4 or IPv6 address (without brackets), or a "
                     "name of at most 255 letters, digits, '-', '.' and '_'"));
  }
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
