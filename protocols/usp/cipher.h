// Cipher is what a connection asks of an encryption of messages: to agree on a key in handshake
// messages, and then to encrypt and decrypt the header and body of each text and binary message.
// legacy_crypto.h is one; who names none links none, and a message that says that it is encrypted
// is an error.
//
// A client's begins, with a handshake message; a server's answers one. Both are ready then.
//
// One is of one connection, and of its loop. It is given bytes of the peer's, whatever they are.

#ifndef SLUICE_PROTOCOLS_USP_CIPHER_H_
#define SLUICE_PROTOCOLS_USP_CIPHER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace sluice::usp {

class Cipher {
 public:
  virtual ~Cipher() = default;

  // The body of the handshake message that this side begins with, once. nullopt where the peer
  // begins.
  virtual absl::StatusOr<std::optional<std::string>> Begin() = 0;

  // A handshake message has arrived, with this body. What is to be answered; nullopt for nothing.
  // An error, for one that is wrong or comes when none may come, ends the connection.
  virtual absl::StatusOr<std::optional<std::string>> OnHandshake(
      absl::Span<const uint8_t> body) = 0;

  // Whether a key is agreed on. Before, nothing is encrypted or decrypted.
  virtual bool ready() const = 0;

  // Replaces the bytes, one at least, by what is sent for them: at most kMaxOverhead more.
  static constexpr size_t kMaxOverhead = 64;
  virtual void Encrypt(std::string& bytes) = 0;

  // Decrypts in place, and returns the part of the bytes that holds the plain ones. An error for
  // what no key can have made.
  virtual absl::StatusOr<absl::Span<uint8_t>> Decrypt(absl::Span<uint8_t> bytes) = 0;
};

}  // namespace sluice::usp

#endif  // SLUICE_PROTOCOLS_USP_CIPHER_H_
