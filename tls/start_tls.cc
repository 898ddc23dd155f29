#include "sluice/tls/start_tls.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/tls/handshake.h"

namespace sluice::tls {
namespace {

// Makes what the user has set on the plain stream void, and keeps what stays.
HandshakeOptions TakeOver(Stream& stream, absl::Duration timeout, HandshakeGroup* group) {
  stream.ReceiveInto({});
  stream.ResumeReceiving();
  HandshakeOptions options;
  options.timeout = timeout;
  options.limits = stream.limits();
  options.group = group;
  return options;
}

absl::Status NothingBehind(absl::Span<const uint8_t> received) {
  if (received.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(received.size(),
                   " bytes were received in clear behind STARTTLS, where there may be "
                   "none before the handshake: they may be an attacker's"));
}

}  // namespace

void AcceptStartTls(std::unique_ptr<Stream> stream, absl::Span<const uint8_t> received,
                    std::shared_ptr<const ServerContext> context,
                    const AcceptStartTlsOptions& options, HandshakeFunction done) {
  const HandshakeOptions taken = TakeOver(*stream, options.timeout, options.group);
  Handshake& handshake =
      Handshake::MakeServer(std::move(stream), std::move(context), taken, std::move(done));
  if (options.received_is_handshake) {
    handshake.AddInput(received);
  } else {
    handshake.Refuse(NothingBehind(received));
  }
  handshake.Start();
}

void ConnectStartTls(std::unique_ptr<Stream> stream, absl::Span<const uint8_t> received,
                     std::shared_ptr<const ClientContext> context, absl::string_view host,
                     const StartTlsOptions& options, HandshakeFunction done) {
  const HandshakeOptions taken = TakeOver(*stream, options.timeout, options.group);
  Handshake& handshake =
      Handshake::MakeClient(std::move(stream), std::move(context), host, taken, std::move(done));
  handshake.Refuse(NothingBehind(received));
  handshake.Start();
}

}  // namespace sluice::tls
