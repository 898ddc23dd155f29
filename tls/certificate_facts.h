// What BoringSSL's certificates say, as Certificates.
#ifndef SLUICE_TLS_CERTIFICATE_FACTS_H_
#define SLUICE_TLS_CERTIFICATE_FACTS_H_

#include "absl/status/statusor.h"
#include "openssl/pool.h"
#include "openssl/x509.h"
#include "sluice/tls/certificate.h"

namespace sluice::tls::internal {

// Errors: kInvalidArgument, as Certificate::Parse.
absl::StatusOr<Certificate> FactsOf(const X509& certificate);
absl::StatusOr<Certificate> FactsOf(const CRYPTO_BUFFER& der);

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_CERTIFICATE_FACTS_H_
