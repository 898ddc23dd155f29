// PrivateKey signs for an Identity whose key is not in this process's memory, or whose use would
// hold up a loop: it is in a module of hardware, in a service, or used on other threads.
//
// Example: on another thread.
//   class Signer : public tls::PrivateKey, public std::enable_shared_from_this<Signer> {
//     void Sign(tls::SignatureAlgorithm algorithm, absl::Span<const uint8_t> message,
//               Done done) const override {
//       pool_.Run([self = shared_from_this(), algorithm, message = ToString(message),
//                  done = std::move(done)]() mutable {
//         done(self->SignWithTheKey(algorithm, message));
//       });
//     }
//   };
//   identity.key.clear();
//   identity.private_key = std::make_shared<Signer>();
//
// Thread-safe: a context's loops call it at the same time.
//
// Lifetime: contexts own it, and the last one may go, with its handshakes, while a signature is
// under way: what signs elsewhere keeps its own share until then, as above, where pool_ is a
// reference to one that outlives it; or the key's destructor waits for it.
#ifndef SLUICE_TLS_PRIVATE_KEY_H_
#define SLUICE_TLS_PRIVATE_KEY_H_

#include <cstdint>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace sluice::tls {

// The names and numbers of RFC 8446, 4.2.3. In TLS 1.2 the curve of those of ECDSA says nothing.
enum class SignatureAlgorithm : uint16_t {
  kRsaPkcs1Sha256 = 0x0401,
  kRsaPkcs1Sha384 = 0x0501,
  kRsaPkcs1Sha512 = 0x0601,
  kEcdsaP256Sha256 = 0x0403,
  kEcdsaP384Sha384 = 0x0503,
  kEcdsaP521Sha512 = 0x0603,
  kRsaPssSha256 = 0x0804,
  kRsaPssSha384 = 0x0805,
  kRsaPssSha512 = 0x0806,
  kEd25519 = 0x0807,
};

class PrivateKey {
 public:
  // Gets the signature; an error ends the handshake.
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;

  virtual ~PrivateKey() = default;

  // Signs `message` (not its hash), which is valid until the call returns. `done` is called once,
  // on any thread, also from inside; the loop of the connection must not have been destroyed by
  // then. A handshake that was given up meanwhile does not mind.
  virtual void Sign(SignatureAlgorithm algorithm, absl::Span<const uint8_t> message,
                    Done done) const = 0;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_PRIVATE_KEY_H_
