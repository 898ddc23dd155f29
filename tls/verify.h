// Whether a peer's chain of certificates can be trusted, and if not, why not.
#ifndef SLUICE_TLS_VERIFY_H_
#define SLUICE_TLS_VERIFY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "openssl/base.h"
#include "openssl/pool.h"
#include "openssl/x509.h"
#include "sluice/tls/context.h"

namespace sluice::tls::internal {

// A store of all that `roots` names. Errors name what cannot be read.
absl::StatusOr<bssl::UniquePtr<X509_STORE>> LoadRoots(const TrustRoots& roots);

// Whom a server's certificate must be for, normalized.
struct PeerName {
  std::string name;
  bool is_address = false;

  // Error: kInvalidArgument for what can be neither a DNS name nor an IP address.
  static absl::StatusOr<PeerName> Parse(absl::string_view host);
};

// The chain is a server's or a client's, leaf first. It must be for `name`, unless that is null. On
// an error (kUnauthenticated), `alert` is what the peer is to be told. Otherwise, gets the path
// that was verified: from the leaf to the one that is trusted, and nothing else that was in the
// chain.
absl::StatusOr<bssl::UniquePtr<STACK_OF(X509)>> VerifyChain(X509_STORE& roots,
                                                            const STACK_OF(CRYPTO_BUFFER) & chain,
                                                            bool server, const PeerName* name,
                                                            uint8_t& alert);

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_VERIFY_H_
