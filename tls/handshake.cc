#include "sluice/tls/handshake.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "openssl/err.h"
#include "openssl/ssl.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/tls/discard.h"
#include "sluice/tls/encrypted_stream.h"
#include "sluice/tls/internal/error.h"

namespace sluice::tls {

Handshake::Handshake(std::unique_ptr<Stream> lower, const internal::ContextBase& base,
                     std::shared_ptr<const void> context, const HandshakeOptions& options,
                     HandshakeFunction done)
    : lower_(std::move(lower)),
      context_(std::move(context)),
      channel_(std::make_unique<internal::Channel>(base.ctx.get(), base.is_server)),
      options_(options),
      done_(std::move(done)),
      deadline_([this] {
        Fail(absl::DeadlineExceededError(absl::StrCat(What(), ": not finished within ",
                                                      absl::FormatDuration(options_.timeout))));
      }) {
  SSL* const ssl = channel_->ssl();
  internal::SetHandshakeState(*ssl, &state_);
  // Half of the memory of an SSL is of use during the handshake only.
  SSL_set_shed_handshake_config(ssl, 1);
  if (options_.group != nullptr) JoinGroup();
}

Handshake::~Handshake() { LeaveGroup(); }

void Handshake::SetPeerName(absl::string_view host) {
  absl::StatusOr<internal::PeerName> name = internal::PeerName::Parse(host);
  if (!name.ok()) {
    status_ = name.status();
    return;
  }
  peer_name_ = *std::move(name);
  state_.peer_name = &peer_name_;
  if (!peer_name_.is_address) SSL_set_tlsext_host_name(channel_->ssl(), peer_name_.name.c_str());
}

void Handshake::Start() {
  if (options_.timeout != absl::InfiniteDuration())
    lower_->loop().ArmTimer(deadline_, options_.timeout);
  lower_->SetHandler(*this);
  lower_->RequestFlush();
}

std::string Handshake::What() const {
  return absl::StrCat(lower_->peer_address().ToString(), ": TLS handshake");
}

void Handshake::OnFlush(Stream&) {
  if (!status_.ok())
    return Fail(absl::Status(status_.code(), absl::StrCat(What(), ": ", status_.message())));
  Step();
}

void Handshake::OnReceive(Stream&, absl::Span<uint8_t> bytes) {
  channel_->Lend(bytes);
  Step();
}

void Handshake::OnReceiveEnd(Stream&) {
  channel_->SetInputEnd();
  Step();
}

void Handshake::Step() {
  ERR_clear_error();
  const int result = SSL_do_handshake(channel_->ssl());
  if (result == 1) return Finish();
  if (SSL_get_error(channel_->ssl(), result) != SSL_ERROR_WANT_READ) return Fail(Error(result));
  channel_->KeepRest();
  if (channel_->has_output()) lower_->Send(channel_->TakeOutput());
}

absl::Status Handshake::Error(int result) {
  const int kind = SSL_get_error(channel_->ssl(), result);
  if (!state_.verdict.ok()) {
    ERR_clear_error();
    return absl::Status(state_.verdict.code(),
                        absl::StrCat(What(), ": ", state_.verdict.message()));
  }
  if (kind == SSL_ERROR_ZERO_RETURN || (kind == SSL_ERROR_SYSCALL && channel_->input_end())) {
    ERR_clear_error();
    return absl::UnavailableError(absl::StrCat(What(), ": the peer ended the connection"));
  }
  return internal::TakeError(What());
}

// The stream takes over; this goes first, so that the function may do as it likes.
void Handshake::Finish() {
  deadline_.Cancel();
  internal::SetHandshakeState(*channel_->ssl(), nullptr);
  if (channel_->has_output()) lower_->Send(channel_->TakeOutput());
  auto stream = std::make_unique<EncryptedStream>(std::move(lower_), std::move(channel_),
                                                  std::move(context_), options_.limits);
  HandshakeFunction done = std::move(done_);
  delete this;
  EncryptedStream& finished = *stream;
  bool gone = false;
  finished.WatchUntilBegin(gone);
  done(std::unique_ptr<TlsStream>(std::move(stream)));
  if (!gone) finished.Begin();
}

void Handshake::Fail(absl::Status status) {
  if (channel_->has_output()) lower_->Send(channel_->TakeOutput());  // an alert
  CloseAndForget(std::move(lower_));
  HandshakeFunction done = std::move(done_);
  delete this;
  done(std::move(status));
}

void Handshake::OnDrain(Stream&) {
  Fail(absl::CancelledError(absl::StrCat(What(), ": the event loop drains")));
}

void Handshake::OnClose(Stream&, const absl::Status& status) {
  absl::Status error =
      status.ok() ? absl::UnavailableError(absl::StrCat(What(), ": closed"))
                  : absl::Status(status.code(), absl::StrCat("TLS handshake: ", status.message()));
  HandshakeFunction done = std::move(done_);
  delete this;
  done(std::move(error));
}

void Handshake::JoinGroup() {
  HandshakeGroup& group = *options_.group;
  next_ = group.first_;
  if (next_ != nullptr) next_->previous_ = this;
  group.first_ = this;
  ++group.size_;
}

void Handshake::LeaveGroup() {
  if (options_.group == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : options_.group->first_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  --options_.group->size_;
}

HandshakeGroup::~HandshakeGroup() {
  while (first_ != nullptr) delete first_;
}

absl::string_view VersionName(Version version) {
  return version == Version::kTls12 ? "TLS 1.2" : "TLS 1.3";
}

void Accept(std::unique_ptr<Stream> stream, std::shared_ptr<const ServerContext> context,
            const HandshakeOptions& options, HandshakeFunction done) {
  const internal::ContextBase& base = internal::ContextAccess::Of(*context);
  auto* const handshake =
      new Handshake(std::move(stream), base, std::move(context), options, std::move(done));
  handshake->Start();
}

void Connect(std::unique_ptr<Stream> stream, std::shared_ptr<const ClientContext> context,
             absl::string_view host, const HandshakeOptions& options, HandshakeFunction done) {
  const internal::ContextBase& base = internal::ContextAccess::Of(*context);
  auto* const handshake =
      new Handshake(std::move(stream), base, std::move(context), options, std::move(done));
  handshake->SetPeerName(host);
  handshake->Start();
}

}  // namespace sluice::tls
