// Handshake carries out one handshake and owns itself while it does. It ends by calling its
// function, with the stream or with what went wrong.
#ifndef SLUICE_TLS_HANDSHAKE_H_
#define SLUICE_TLS_HANDSHAKE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "openssl/base.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"
#include "sluice/tls/admission.h"
#include "sluice/tls/context_impl.h"
#include "sluice/tls/internal/channel.h"
#include "sluice/tls/tls_stream.h"
#include "sluice/tls/verify.h"

namespace sluice::tls {

class Handshake final : private StreamHandler,
                        private internal::HandshakeState,
                        private Admission::Waiter {
 public:
  Handshake(std::unique_ptr<Stream> lower, const internal::ContextBase& base,
            std::shared_ptr<const void> context, const HandshakeOptions& options,
            HandshakeFunction done);
  ~Handshake() override;

  static Handshake& MakeServer(std::unique_ptr<Stream> lower,
                               std::shared_ptr<const ServerContext> context,
                               const HandshakeOptions& options, HandshakeFunction done);
  static Handshake& MakeClient(std::unique_ptr<Stream> lower,
                               std::shared_ptr<const ClientContext> context, absl::string_view host,
                               const HandshakeOptions& options, HandshakeFunction done);

  // Before Start. An error makes it fail with that, and nothing is said to the peer.
  void Refuse(absl::Status status) { status_.Update(std::move(status)); }
  // Received by somebody else.
  void AddInput(absl::Span<const uint8_t> bytes);

  // The first step is done by the loop.
  void Start();

 private:
  friend class HandshakeGroup;

  // StreamHandler, of the stream beneath:
  void OnReceive(Stream& lower, absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd(Stream& lower) override;
  void OnFlush(Stream& lower) override;
  void OnDrain(Stream& lower) override;
  void OnClose(Stream& lower, const absl::Status& status) override;

  // HandshakeState:
  void StartSigning(SignatureAlgorithm algorithm, absl::Span<const uint8_t> message) override;

  // Admission::Waiter:
  void OnAdmitted() override;

  // A client's: whom it talks to, and the session to go on with. An error is told to the function.
  void SetPeer(absl::string_view host, const internal::ClientData& context);

  // All of these may destroy this.
  void StepWhenAdmitted();
  void OnSigned(absl::StatusOr<std::string> signature);
  void Step();
  int Shake();
  void SendEarly();
  void Finish();
  void Fail(absl::Status status);

  int UnitsOf(int outcome) const;  // of the step that has ended so
  absl::Status Error(int result);
  std::string What() const;
  void Hold();
  void JoinGroup();
  void LeaveGroup();

  std::unique_ptr<Stream> lower_;
  std::shared_ptr<const void> context_;
  std::unique_ptr<internal::SslChannel> channel_;
  internal::PeerName peer_name_;
  absl::Status status_;  // found wrong before the first step
  const HandshakeOptions options_;
  HandshakeFunction done_;
  Timer deadline_;
  const std::shared_ptr<Admission> admission_;
  // Whom a signature that comes late finds here, on the loop's thread: null when this is gone.
  std::shared_ptr<Handshake*> self_;
  int plain_alert_ = -1;       // that ended what was received last
  size_t early_sent_ = 0;      // of options_.replayable_early_data
  bool held_ = false;          // nothing is received: it waits, for its turn or a signature
  bool computing_ = false;     // in BoringSSL, which calls the user's functions
  Handshake* next_ = nullptr;  // in the group
  Handshake* previous_ = nullptr;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_HANDSHAKE_H_
