// Reading of certificates and keys, from files and from memory.
#ifndef SLUICE_TLS_INTERNAL_PEM_H_
#define SLUICE_TLS_INTERNAL_PEM_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "openssl/base.h"

namespace sluice::tls::internal {

// Errors name the path: kNotFound, kPermissionDenied, ...
absl::StatusOr<std::string> ReadFile(absl::string_view path);

// All certificates in `pem`, at least one. `what` begins the error's message: where `pem` is from.
absl::StatusOr<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> ReadCertificates(
    absl::string_view pem, absl::string_view what);

absl::StatusOr<bssl::UniquePtr<EVP_PKEY>> ReadPrivateKey(absl::string_view pem,
                                                         absl::string_view what);

bssl::UniquePtr<X509> ParseX509(CRYPTO_BUFFER& certificate);  // null if it is none

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_INTERNAL_PEM_H_
