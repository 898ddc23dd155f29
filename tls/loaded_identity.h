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

  // Whether the client can do something with the key, in the version that the two will speak.
  bool FitsClient(const SSL_CLIENT_HELLO& hello) const;

  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain;
  bssl::UniquePtr<EVP_PKEY> key;  // or:
  std::shared_ptr<const PrivateKey> private_key;
  int signing_units;  // what a signature costs (admission.h)
  std::string ocsp_response;
  // What a client must know: one of these signatures; in TLS 1.2 suites of this authentication
  // (SSL_CIPHER_get_auth_nid's), too, and the group that is an ECDSA key's curve (0 for none). In
  // TLS 1.3 the curve is a part of the signature's name.
  std::vector<uint16_t> tls13_signatures;
  std::vector<uint16_t> tls12_signatures;
  uint32_t authentication;
  uint16_t tls12_group = 0;
  std::vector<std::string> names;      // in lower case, "*.example.org" among them
  std::vector<std::string> addresses;  // of the certificate, as its names
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_LOADED_IDENTITY_H_
