// INSECURE. What lxzan/socket calls RSA-then-AES, for talking to peers that cannot be replaced, on
// networks where nobody listens. It is off unless a program names this target; nothing of sluice
// does. For secrecy, run any protocol over TLS (//tls).
//
// The client makes an AES key, encrypts it with the server's RSA public key, and sends that in a
// handshake message; the server answers with an empty one. From then on each message is encrypted
// by itself with AES in ECB mode, padded as PKCS #5 says. What is wrong with it:
//   * Nothing says who the peer is, and nothing protects a message: whoever is in between can drop,
//     repeat and reorder messages and blocks of them, and alter them blindly. The server's answer
//     can be forged by anyone; sizes, types and empty messages are in the clear.
//   * Equal blocks of 16 bytes are encrypted to equal blocks, within a message and across them.
//   * One who records today and has the server's key tomorrow reads it all.
//   * RSA with PKCS #1 v1.5 padding can be broken by asking a server often enough whether a
//     padding is right (Bleichenbacher, 1998). This one does not tell: where it is wrong, it goes
//     on with a key that nobody knows, the same each time for the same bytes. But how long all
//     that takes is not under this code's control alone.
// One thing is better than in the original: the key comes from a secure source of random bytes, and
// not from the time of day.
//
// Example:
//   absl::StatusOr<InsecureLegacyCrypto> crypto = InsecureLegacyCrypto::ForServer(private_key_pem);
//   ...
//   sluice::usp::ConnectionOptions options;
//   options.make_cipher = [crypto = *crypto] { return crypto.NewCipher(); };
//
// A wrong key of the client's shows not in the handshake, but as an error of the first message.
//
// InsecureLegacyCrypto is thread-safe, and cheap to copy; a Cipher is of one connection, and may
// outlive it. Keys are wiped from memory, but not the text that they were read from, which is the
// caller's.
//
// Errors: those of PEM texts are kInvalidArgument, and name what is there and what is accepted.

#ifndef SLUICE_PROTOCOLS_USP_LEGACY_CRYPTO_H_
#define SLUICE_PROTOCOLS_USP_LEGACY_CRYPTO_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/protocols/usp/cipher.h"

namespace sluice::usp {

class InsecureLegacyCrypto {
 public:
  // For clients: the server's public key, RSA of 1024 to 8192 bits, as a block PUBLIC KEY.
  static absl::StatusOr<InsecureLegacyCrypto> ForClient(absl::string_view public_key_pem);

  // For a server: its private key, as a block RSA PRIVATE KEY (PKCS #1) or PRIVATE KEY (PKCS #8),
  // not encrypted.
  static absl::StatusOr<InsecureLegacyCrypto> ForServer(absl::string_view private_key_pem);

  // The cipher of a new connection.
  std::unique_ptr<Cipher> NewCipher() const;

 private:
  class Key;
  class ClientCipher;
  class ServerCipher;

  explicit InsecureLegacyCrypto(std::shared_ptr<const Key> key) : key_(std::move(key)) {}

  std::shared_ptr<const Key> key_;
};

}  // namespace sluice::usp

#endif  // SLUICE_PROTOCOLS_USP_LEGACY_CRYPTO_H_
