#include "sluice/tls/dialer.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

// The name of the payload that marks a handshake's error.
constexpr absl::string_view kHandshake = "sluice.tls.handshake";

class TlsAttempt final : public sluice::Dialer::Attempt {
 public:
  TlsAttempt(EventLoop& loop, const Endpoint& endpoint, const DialOptions& options,
             std::shared_ptr<const ClientContext> context, std::string server_name,
             sluice::Dialer::DialFunction done)
      : loop_(loop),
        endpoint_(endpoint.port == 0 ? "" : endpoint.ToString()),
        options_(options),
        deadline_(loop.NowExact() + options.timeout),
        context_(std::move(context)),
        server_name_(std::move(server_name)),
        done_(std::move(done)) {}

  void Dial(const sluice::Dialer& lower, const Endpoint& endpoint) {
    lower_ = lower.Dial(loop_, endpoint, options_,
                        [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                          if (!stream.ok()) return Finish(stream.status());
                          Encrypt(*std::move(stream));
                        });
  }

 private:
  void Encrypt(std::unique_ptr<Stream> stream) {
    HandshakeOptions options;
    options.timeout = std::max(deadline_ - loop_.now(), absl::ZeroDuration());
    options.limits = options_.stream.limits;
    options.group = &handshakes_;
    Connect(std::move(stream), context_, server_name_, options,
            [this](absl::StatusOr<std::unique_ptr<TlsStream>> encrypted) {
              if (!encrypted.ok()) return Finish(HandshakeError(encrypted.status()));
              Finish(std::unique_ptr<Stream>(*std::move(encrypted)));
            });
  }

  // A handshake knows only the address of the transport, which may be a proxy's.
  absl::Status HandshakeError(absl::Status status) const {
    if (!absl::StrContains(status.message(), endpoint_))
      status = absl::Status(status.code(), absl::StrCat(endpoint_, ": ", status.message()));
    status.SetPayload(kHandshake, absl::Cord());
    return status;
  }

  void Finish(absl::StatusOr<std::unique_ptr<Stream>> stream) {
    sluice::Dialer::DialFunction done = std::move(done_);
    done(std::move(stream));  // may destroy this
  }

  EventLoop& loop_;
  const std::string endpoint_;  // empty over a dialer that needs none
  const DialOptions options_;
  const MonotonicTime deadline_;
  const std::shared_ptr<const ClientContext> context_;
  const std::string server_name_;
  sluice::Dialer::DialFunction done_;
  std::unique_ptr<Attempt> lower_;
  HandshakeGroup handshakes_;
};

}  // namespace

Dialer::Dialer(std::shared_ptr<const sluice::Dialer> lower,
               std::shared_ptr<const ClientContext> context, std::string server_name)
    : lower_(std::move(lower)),
      context_(std::move(context)),
      server_name_(std::move(server_name)) {}

std::unique_ptr<Dialer::Attempt> Dialer::Dial(EventLoop& loop, const Endpoint& endpoint,
                                              const DialOptions& options, DialFunction done) const {
  auto attempt = std::make_unique<TlsAttempt>(loop, endpoint, options, context_,
                                              server_name_.empty() ? endpoint.host : server_name_,
                                              std::move(done));
  attempt->Dial(*lower_, endpoint);
  return attempt;
}

bool IsHandshakeError(const absl::Status& error) {
  return error.GetPayload(kHandshake).has_value();
}

}  // namespace sluice::tls
