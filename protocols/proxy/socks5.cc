#include "sluice/protocols/proxy/socks5.h"

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/socket_address.h"
#include "sluice/protocols/proxy/internal/tunnel.h"

namespace sluice::proxy {
namespace {

constexpr uint8_t kVersion = 5;
constexpr uint8_t kConnect = 1;
constexpr uint8_t kNoAuthentication = 0x00;
constexpr uint8_t kUserAndPassword = 0x02;
constexpr uint8_t kNoMethod = 0xff;
constexpr uint8_t kIpv4 = 1;
constexpr uint8_t kName = 3;
constexpr uint8_t kIpv6 = 4;
constexpr uint8_t kAuthenticationVersion = 1;
constexpr size_t kMostCredentialBytes = 255;

char Char(size_t byte) { return static_cast<char>(byte); }

void Append(std::string& out, absl::string_view text) {
  out.push_back(Char(text.size()));
  out.append(text.data(), text.size());
}

// How the request names whom to connect to.
std::string Encode(const Endpoint& target) {
  std::string out;
  const SocketAddress address = target.Address();
  if (address.family() == SocketAddress::Family::kIpv4) {
    const auto* const ipv4 = reinterpret_cast<const sockaddr_in*>(address.data());
    out.push_back(Char(kIpv4));
    out.append(reinterpret_cast<const char*>(&ipv4->sin_addr), sizeof(ipv4->sin_addr));
  } else if (address.family() == SocketAddress::Family::kIpv6) {
    const auto* const ipv6 = reinterpret_cast<const sockaddr_in6*>(address.data());
    out.push_back(Char(kIpv6));
    out.append(reinterpret_cast<const char*>(&ipv6->sin6_addr), sizeof(ipv6->sin6_addr));
  } else {
    out.push_back(Char(kName));
    Append(out, target.host);
  }
  out.push_back(Char(target.port >> 8));
  out.push_back(Char(target.port & 0xff));
  return out;
}

struct Refusal {
  absl::StatusCode code;
  absl::string_view why;
};

// RFC 1928 section 6.
Refusal RefusalOf(uint8_t reply) {
  switch (reply) {
    case 1:
      return {absl::StatusCode::kUnavailable, "general SOCKS server failure"};
    case 2:
      return {absl::StatusCode::kPermissionDenied, "connection not allowed by ruleset"};
    case 3:
      return {absl::StatusCode::kUnavailable, "network unreachable"};
    case 4:
      return {absl::StatusCode::kUnavailable, "host unreachable"};
    case 5:
      return {absl::StatusCode::kUnavailable, "connection refused"};
    case 6:
      return {absl::StatusCode::kUnavailable, "TTL expired"};
    case 7:
      return {absl::StatusCode::kFailedPrecondition, "command not supported"};
    case 8:
      return {absl::StatusCode::kFailedPrecondition, "address type not supported"};
    default:
      return {absl::StatusCode::kFailedPrecondition, "a reply that is not assigned"};
  }
}

class Socks5Attempt final : public internal::Tunnel {
 public:
  Socks5Attempt(EventLoop& loop, const Socks5Dialer::Options& proxy, const Endpoint& target,
                const DialOptions& options, Dialer::DialFunction done)
      : Tunnel(loop, proxy.proxy, absl::StrCat("SOCKS5 to ", target.ToString()), options,
               std::move(done)),
        target_(Encode(target)) {
    if (proxy.user.empty()) return;
    credentials_.push_back(Char(kAuthenticationVersion));
    Append(credentials_, proxy.user);
    Append(credentials_, proxy.password);
  }

 private:
  enum class Step : uint8_t { kMethod, kAuthentication, kReply, kNameLength, kBoundAddress };

  void OnConnected() override {
    std::string greeting{Char(kVersion), 1, Char(kNoAuthentication)};
    if (!credentials_.empty()) {
      greeting[1] = 2;
      greeting.push_back(Char(kUserAndPassword));
    }
    Send(greeting);
    Await(Step::kMethod, 2);
  }

  void Await(Step step, size_t bytes) {
    step_ = step;
    Expect(bytes);
  }

  void OnExpected(absl::Span<const uint8_t> bytes) override {
    switch (step_) {
      case Step::kMethod:
        return OnMethod(bytes);
      case Step::kAuthentication:
        return OnAuthenticated(bytes);
      case Step::kReply:
        return OnReply(bytes);
      case Step::kNameLength:
        return Await(Step::kBoundAddress, bytes[0] + kPortBytes);
      case Step::kBoundAddress:
        return Succeed();  // where the proxy is bound is of no use
    }
  }

  void OnMethod(absl::Span<const uint8_t> bytes) {
    if (bytes[0] != kVersion) return FailVersion(bytes[0]);
    const bool with_user = !credentials_.empty();
    if (bytes[1] == kNoAuthentication) return Request();
    if (bytes[1] == kUserAndPassword && with_user) {
      Send(credentials_);
      return Await(Step::kAuthentication, 2);
    }
    if (bytes[1] == kNoMethod) {
      return Fail(absl::StatusCode::kPermissionDenied,
                  with_user ? "the proxy accepts neither a user name and password nor none"
                            : "the proxy wants authentication, and there is no user name");
    }
    Fail(absl::StatusCode::kFailedPrecondition,
         absl::StrFormat("the proxy chose the method 0x%02x, which was not offered", bytes[1]));
  }

  void OnAuthenticated(absl::Span<const uint8_t> bytes) {
    if (bytes[0] != kAuthenticationVersion) {
      return Fail(absl::StatusCode::kFailedPrecondition,
                  absl::StrFormat("the answer to the password is malformed: version %d", bytes[0]));
    }
    if (bytes[1] != 0) {
      return Fail(absl::StatusCode::kPermissionDenied,
                  "the proxy does not accept this user name and password");
    }
    Request();
  }

  void Request() {
    Send(absl::StrCat(std::string{Char(kVersion), Char(kConnect), 0}, target_));
    Await(Step::kReply, 4);
  }

  void OnReply(absl::Span<const uint8_t> bytes) {
    if (bytes[0] != kVersion) return FailVersion(bytes[0]);
    if (bytes[1] != 0) {
      const Refusal refusal = RefusalOf(bytes[1]);
      return Fail(refusal.code, absl::StrCat("refused with ", int{bytes[1]}, ": ", refusal.why));
    }
    switch (bytes[3]) {
      case kIpv4:
        return Await(Step::kBoundAddress, sizeof(in_addr) + kPortBytes);
      case kIpv6:
        return Await(Step::kBoundAddress, sizeof(in6_addr) + kPortBytes);
      case kName:
        return Await(Step::kNameLength, 1);
      default:
        return Fail(
            absl::StatusCode::kFailedPrecondition,
            absl::StrFormat("the reply has the address type 0x%02x, which there is not", bytes[3]));
    }
  }

  void FailVersion(uint8_t version) {
    Fail(absl::StatusCode::kFailedPrecondition,
         absl::StrFormat("the proxy does not speak SOCKS5: its answer has the version 0x%02x",
                         version));
  }

  static constexpr size_t kPortBytes = 2;

  const std::string target_;
  std::string credentials_;  // the whole message; empty for none
  Step step_ = Step::kMethod;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Socks5Dialer>> Socks5Dialer::Create(
    const Options& options, std::shared_ptr<const Dialer> lower) {
  if (absl::Status status = options.proxy.Check(); !status.ok())
    return absl::Status(status.code(), absl::StrCat("SOCKS5 proxy: ", status.message()));
  if (options.user.size() > kMostCredentialBytes ||
      options.password.size() > kMostCredentialBytes) {
    return absl::InvalidArgumentError(
        "SOCKS5 proxy: a user name and a password have at most 255 bytes each");
  }
  if (options.user.empty() != options.password.empty()) {
    return absl::InvalidArgumentError(
        "SOCKS5 proxy: a user name and a password go together, and neither is empty");
  }
  if (lower == nullptr) lower = std::make_shared<DirectDialer>();
  return std::shared_ptr<const Socks5Dialer>(new Socks5Dialer(options, std::move(lower)));
}

Socks5Dialer::Socks5Dialer(const Options& options, std::shared_ptr<const Dialer> lower)
    : options_(options), lower_(std::move(lower)) {}

std::unique_ptr<Dialer::Attempt> Socks5Dialer::Dial(EventLoop& loop, const Endpoint& endpoint,
                                                    const DialOptions& options,
                                                    DialFunction done) const {
  if (absl::Status status = internal::CheckTarget(endpoint); !status.ok())
    return Dialer::Fail(loop, std::move(status), std::move(done));
  auto attempt =
      std::make_unique<Socks5Attempt>(loop, options_, endpoint, options, std::move(done));
  attempt->Dial(*lower_);
  return attempt;
}

}  // namespace sluice::proxy
