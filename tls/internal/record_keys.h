// RecordKeys encrypt or decrypt the records of TLS 1.3 that go in one direction.
//
// Thread-compatible. Source: RFC 8446, sections 5.2, 5.3 and 7.3.
#ifndef SLUICE_TLS_INTERNAL_RECORD_KEYS_H_
#define SLUICE_TLS_INTERNAL_RECORD_KEYS_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "openssl/aead.h"
#include "openssl/base.h"

namespace sluice::tls::internal {

class RecordKeys {
 public:
  static constexpr size_t kHeaderBytes = 5;
  static constexpr size_t kTagBytes = 16;
  // What a record adds to its bytes: the header, the type, the tag.
  static constexpr size_t kOverhead = kHeaderBytes + 1 + kTagBytes;

  RecordKeys() = default;
  RecordKeys(const RecordKeys&) = delete;
  RecordKeys& operator=(const RecordKeys&) = delete;
  ~RecordKeys();

  // Begins with the traffic secret of a direction, and the number of its next record. False for a
  // suite that is none of TLS 1.3.
  bool Set(const SSL_CIPHER& suite, absl::Span<const uint8_t> secret, uint64_t sequence);

  // Goes on with the next secret (KeyUpdate).
  bool Update();

  // Makes a record of `type` from `bytes` in `out`, which has kOverhead more of room. `bytes` may
  // lie where they will be encrypted, at out + kHeaderBytes. False where the numbers are used up.
  bool Seal(uint8_t type, absl::Span<const uint8_t> bytes, uint8_t* out);

  // Decrypts a whole record, header and all, of at least kOverhead bytes, into `out`: bytes, type
  // and padding, of record.size() - kHeaderBytes - kTagBytes. `out` may be where the record's bytes
  // lie, behind its header; else it is apart from it. False for one that was not made with these
  // keys, or is not the next one.
  bool Open(absl::Span<const uint8_t> record, uint8_t* out);

  // Of the next record.
  uint64_t sequence() const { return sequence_; }

 private:
  static constexpr size_t kNonceBytes = 12;
  static constexpr size_t kMaxSecretBytes = 48;

  bool Derive();
  bool NextNonce(uint8_t* nonce);

  bssl::ScopedEVP_AEAD_CTX aead_;
  const SSL_CIPHER* suite_ = nullptr;
  uint64_t sequence_ = 0;
  uint8_t iv_[kNonceBytes];
  uint8_t secret_size_ = 0;
  uint8_t secret_[kMaxSecretBytes];
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_INTERNAL_RECORD_KEYS_H_
