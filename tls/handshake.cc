#include "sluice/tls/handshake.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "openssl/err.h"
#include "openssl/ssl.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/socket_address.h"
#include "sluice/tls/agreement.h"
#include "sluice/tls/discard.h"
#include "sluice/tls/encrypted_stream.h"
#include "sluice/tls/internal/error.h"

namespace sluice::tls {
namespace {

// The alert of a record that is not encrypted and ends `bytes`; -1 for none.
int PlainAlert(absl::Span<const uint8_t> bytes) {
  constexpr uint8_t kHead[] = {SSL3_RT_ALERT, 3, 3, 0, 2};
  constexpr size_t kSize = sizeof(kHead) + 2;  // the level and the alert follow
  if (bytes.size() < kSize) return -1;
  const absl::Span<const uint8_t> record = bytes.last(kSize);
  return std::equal(std::begin(kHead), std::end(kHead), record.begin()) ? record.back() : -1;
}

}  // namespace

Handshake::Handshake(std::unique_ptr<Stream> lower, const internal::ContextBase& base,
                     std::shared_ptr<const void> context, const HandshakeOptions& options,
                     HandshakeFunction done)
    : lower_(std::move(lower)),
      context_(std::move(context)),
      channel_(std::make_unique<internal::SslChannel>(base.ctx.get(), base.is_server)),
      options_(options),
      done_(std::move(done)),
      deadline_([this] {
        Fail(absl::DeadlineExceededError(absl::StrCat(What(), ": not finished within ",
                                                      absl::FormatDuration(options_.timeout))));
      }),
      admission_(Admission::Of(lower_->loop())) {
  private_key = base.private_key.get();
  signing_units = base.signing_units;
  SSL* const ssl = channel_->ssl();
  internal::SetHandshakeState(*ssl, this);
  // Half of the memory of an SSL is of use during the handshake only.
  SSL_set_shed_handshake_config(ssl, 1);
  if (options_.group != nullptr) JoinGroup();
}

Handshake::~Handshake() {
  SLUICE_CHECK(!computing_ && "a HandshakeGroup is destroyed by a function of its handshake");
  LeaveLine();
  LeaveGroup();
  if (self_ != nullptr) *self_ = nullptr;
}

void Handshake::SetPeer(absl::string_view host, const internal::ClientData& context) {
  absl::StatusOr<internal::PeerName> name = internal::PeerName::Parse(host);
  if (!name.ok()) {
    status_ = name.status();
    return;
  }
  peer_name_ = *std::move(name);
  peer_name = &peer_name_;
  SSL& ssl = *channel_->ssl();
  SSL_set_early_data_enabled(&ssl, options_.replayable_early_data.empty() ? 0 : 1);
  if (!peer_name_.is_address) SSL_set_tlsext_host_name(&ssl, peer_name_.name.c_str());
  if (!context.sessions.has_value()) return;
  // Services on several ports of a host are several servers.
  std::string server = absl::StrCat(peer_name_.name, ":", lower_->peer_address().port());
  if (const auto session = context.sessions->Take(server)) SSL_set_session(&ssl, session.get());
  internal::SetSessionName(ssl, std::move(server));
}

void Handshake::AddInput(absl::Span<const uint8_t> bytes) {
  channel_->Lend(bytes);
  channel_->KeepRest();
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
  if (held_) return;  // as input has come already
  channel_->input_size() == 0 ? Step() : StepWhenAdmitted();
}

// What was found wrong before the first step, OnFlush tells.
void Handshake::OnReceive(Stream&, absl::Span<uint8_t> bytes) {
  if (!status_.ok()) return;
  plain_alert_ = PlainAlert(bytes);
  channel_->Lend(bytes);
  StepWhenAdmitted();
}

void Handshake::OnReceiveEnd(Stream&) {
  if (!status_.ok()) return;
  channel_->SetInputEnd();
  StepWhenAdmitted();
}

// Nothing more is received until it goes on.
void Handshake::Hold() {
  held_ = true;
  channel_->KeepRest();
  lower_->PauseReceiving();
}

void Handshake::StepWhenAdmitted() {
  if (admission_->MayStep()) return Step();
  Hold();
  admission_->Wait(*this);
}

void Handshake::OnAdmitted() { Step(); }

void Handshake::Step() {
  has_verified = false;
  computing_ = true;
  const int result = Shake();
  computing_ = false;
  const int outcome = SSL_get_error(channel_->ssl(), result);
  if (const int units = UnitsOf(outcome); units != 0) admission_->Charge(units);
  if (result == 1) return Finish();
  if (outcome != SSL_ERROR_WANT_READ && outcome != SSL_ERROR_WANT_PRIVATE_KEY_OPERATION)
    return Fail(Error(result));
  if (channel_->has_output()) lower_->Send(channel_->TakeOutput());
  if (outcome == SSL_ERROR_WANT_PRIVATE_KEY_OPERATION) return Hold();
  channel_->KeepRest();
  if (!held_) return;
  held_ = false;
  lower_->ResumeReceiving();
}

// A client that has something to send early does so when it may, and goes on.
int Handshake::Shake() {
  SSL* const ssl = channel_->ssl();
  int result = SSL_do_handshake(ssl);
  if (result == 1 && SSL_is_server(ssl) == 0 && SSL_in_early_data(ssl) == 1) {
    SendEarly();
    result = SSL_do_handshake(ssl);
  }
  if (SSL_get_error(ssl, result) != SSL_ERROR_EARLY_DATA_REJECTED) return result;
  early_sent_ = 0;
  SSL_reset_early_data_reject(ssl);
  return SSL_do_handshake(ssl);
}

// As much as the session allows.
void Handshake::SendEarly() {
  const std::string& data = options_.replayable_early_data;
  while (early_sent_ < data.size()) {
    const size_t rest = std::min<size_t>(data.size() - early_sent_, SSL3_RT_MAX_PLAIN_LENGTH);
    const int written =
        SSL_write(channel_->ssl(), data.data() + early_sent_, static_cast<int>(rest));
    if (written <= 0) break;
    early_sent_ += static_cast<size_t>(written);
  }
  ERR_clear_error();
}

// A step that has something to say has made keys or signatures, or verified some. A server has
// signed where it then waits for its client's answer, unless a session goes on. (Or it has asked
// for another group's key, which is rare.)
int Handshake::UnitsOf(int outcome) const {
  const SSL* const ssl = channel_->ssl();
  const bool answered = channel_->has_output();
  const bool has_signed = answered && outcome == SSL_ERROR_WANT_READ && SSL_is_server(ssl) == 1 &&
                          SSL_session_reused(ssl) == 0;
  if (has_signed) return signing_units;
  const bool has_computed = answered || has_verified || outcome == SSL_ERROR_NONE ||
                            outcome == SSL_ERROR_WANT_PRIVATE_KEY_OPERATION;
  return has_computed ? 1 : 0;
}

// The answer takes its way through the loop, on whatever thread it comes.
void Handshake::StartSigning(SignatureAlgorithm algorithm, absl::Span<const uint8_t> message) {
  if (self_ == nullptr) self_ = std::make_shared<Handshake*>(this);
  private_key->Sign(algorithm, message,
                    [self = self_, &loop = lower_->loop()](absl::StatusOr<std::string> result) {
                      loop.Post([self, signature = std::move(result)]() mutable {
                        if (*self != nullptr) (*self)->OnSigned(std::move(signature));
                      });
                    });
}

void Handshake::OnSigned(absl::StatusOr<std::string> result) {
  signature = std::move(result);
  Step();
}

absl::Status Handshake::Error(int result) {
  const int kind = SSL_get_error(channel_->ssl(), result);
  if (!verdict.ok()) {
    ERR_clear_error();
    return absl::Status(verdict.code(), absl::StrCat(What(), ": ", verdict.message()));
  }
  if (kind == SSL_ERROR_ZERO_RETURN || (kind == SSL_ERROR_SYSCALL && channel_->input_end())) {
    ERR_clear_error();
    return absl::UnavailableError(absl::StrCat(What(), ": the peer ended the connection"));
  }
  // A client of OpenSSL's refuses a server's certificate in TLS 1.3 by an alert that it does not
  // encrypt, which BoringSSL finds too short.
  if (plain_alert_ >= 0 && ERR_GET_REASON(ERR_peek_error()) == SSL_R_BAD_PACKET_LENGTH) {
    ERR_clear_error();
    return internal::AlertError(What(), plain_alert_);
  }
  return internal::TakeError(What());
}

// The stream takes over; this goes first, so that the function may do as it likes.
void Handshake::Finish() {
  deadline_.Cancel();
  SSL* const ssl = channel_->ssl();
  internal::SetHandshakeState(*ssl, nullptr);
  // A server's tickets leave with its first write, and a client that needs no answer would have
  // none: so they leave with this one, of nothing.
  if (SSL_is_server(ssl) == 1) SSL_write(ssl, nullptr, 0);
  if (channel_->has_output()) lower_->Send(channel_->TakeOutput());
  if (held_) lower_->ResumeReceiving();
  internal::Agreement agreement = internal::Agreement::Of(*ssl);
  auto stream =
      std::make_unique<EncryptedStream>(std::move(lower_), std::move(channel_),
                                        std::move(agreement), std::move(context_), options_.limits);
  const absl::string_view rest =
      absl::string_view(options_.replayable_early_data).substr(early_sent_);
  if (!rest.empty()) stream->Send(rest);
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

Handshake& Handshake::MakeServer(std::unique_ptr<Stream> lower,
                                 std::shared_ptr<const ServerContext> context,
                                 const HandshakeOptions& options, HandshakeFunction done) {
  const internal::ServerData& data = internal::ContextAccess::Of(*context);
  if (data.ticket_keys != nullptr) data.ticket_keys->RotateWhenDue(lower->loop().now());
  return *new Handshake(std::move(lower), data, std::move(context), options, std::move(done));
}

Handshake& Handshake::MakeClient(std::unique_ptr<Stream> lower,
                                 std::shared_ptr<const ClientContext> context,
                                 absl::string_view host, const HandshakeOptions& options,
                                 HandshakeFunction done) {
  const internal::ClientData& data = internal::ContextAccess::Of(*context);
  auto* const handshake =
      new Handshake(std::move(lower), data, std::move(context), options, std::move(done));
  handshake->SetPeer(host, data);
  return *handshake;
}

void Accept(std::unique_ptr<Stream> stream, std::shared_ptr<const ServerContext> context,
            const HandshakeOptions& options, HandshakeFunction done) {
  Handshake::MakeServer(std::move(stream), std::move(context), options, std::move(done)).Start();
}

void Connect(std::unique_ptr<Stream> stream, std::shared_ptr<const ClientContext> context,
             absl::string_view host, const HandshakeOptions& options, HandshakeFunction done) {
  Handshake::MakeClient(std::move(stream), std::move(context), host, options, std::move(done))
      .Start();
}

}  // namespace sluice::tls
