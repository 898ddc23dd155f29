// TlsFlags is what the endpoints of the integration tests are told about TLS, as words of their
// command lines.
//
//   --identity=CHAIN,KEY            files; several for SNI, the first is the default
//   --ocsp=FILE                     DER, of the identity before it
//   --roots=FILE                    whom to trust, in PEM
//   --client_certificates=request   or require; against --roots
//   --refuse=SUBJECT                the VerifyFunction refuses this one
//   --insecure                      a client takes any certificate
//   --alpn=A,B
//   --min=1.3, --max=1.2
//   --handshake_timeout=500ms
//   --host=NAME                     whom a client wants to talk to; else the address
//   --times=N                       how often a client connects
#ifndef SLUICE_TESTS_INTEGRATION_TLS_FLAGS_H_
#define SLUICE_TESTS_INTEGRATION_TLS_FLAGS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/tls/context.h"
#include "sluice/tls/ticket_keys.h"

namespace sluice {

struct TlsFlags {
  // Takes its own words out of `words`, and leaves the others.
  static absl::StatusOr<TlsFlags> Take(std::vector<std::string>& words);

  absl::StatusOr<std::shared_ptr<const tls::ServerContext>> ServerContext() const;
  absl::StatusOr<std::shared_ptr<const tls::ClientContext>> ClientContext() const;

  std::vector<tls::Identity> identities;
  std::shared_ptr<tls::TicketKeys> ticket_keys = std::make_shared<tls::TicketKeys>();
  tls::TrustRoots roots;
  tls::ClientCertificates client_certificates = tls::ClientCertificates::kNone;
  tls::VerifyFunction verify;
  bool insecure = false;
  std::vector<std::string> alpn;
  tls::Version min = tls::Version::kTls12;
  tls::Version max = tls::Version::kTls13;
  absl::Duration handshake_timeout = absl::Seconds(10);
  std::string host;
  int times = 1;

 private:
  absl::Status Set(absl::string_view name, absl::string_view value);
};

}  // namespace sluice

#endif  // SLUICE_TESTS_INTEGRATION_TLS_FLAGS_H_
