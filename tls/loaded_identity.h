// LoadedIdentity is an Identity that was read and found to belong together: what a context shows.
#ifndef SLUICE_TLS_LOADED_IDENTITY_H_
#define SLUICE_TLS_LOADED_IDENTITY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "openssl/base.h"
#include "openssl/pool.h"
#include "openssl/ssl.h"
#include "sluice/tls/context.h"
#include "sluice/tls/private_key.h"

namespace sluice::tls::internal {

struct LoadedIdentity {
  // Errors (kInvalidArgument) name the identity by its place, `index` + 1.
  static absl::StatusOr<LoadedIdentity> Load(const Identity& identity, size_t index);

  // Whether the client can do something with the key. One that does not say which signatures it
  // knows is one of TLS 1.2 that goes by its cipher suites.
  bool FitsClient(const SSL_CLIENT_HELLO& hello) const;

  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain;
  bssl::UniquePtr<EVP_PKEY> key;  // or:
  std::shared_ptr<const PrivateKey> private_key;
  int signing_units;  // what a signature costs (admission.h)
  std::string ocsp_response;
  std::vector<uint16_t> signature_algorithms;  // of which a client must know one
  uint32_t authentication;                     // SSL_CIPHER_get_auth_nid's, for TLS 1.2
  std::vector<std::string> names;              // in lower case, "*.example.org" among them
  std::vector<std::string> addresses;          // of the certificate, as its names
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_LOADED_IDENTITY_H_
