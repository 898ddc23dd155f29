#include "sluice/tls/internal/record_keys.h"

#include <cstring>
#include <limits>

#include "absl/strings/string_view.h"
#include "openssl/digest.h"
#include "openssl/hkdf.h"
#include "openssl/mem.h"
#include "openssl/ssl.h"
#include "sluice/core/internal/check.h"

namespace sluice::tls::internal {
namespace {

const EVP_AEAD* AeadOf(const SSL_CIPHER& suite) {
  switch (SSL_CIPHER_get_protocol_id(&suite)) {
    case TLS1_CK_AES_128_GCM_SHA256 & 0xFFFF:
      return EVP_aead_aes_128_gcm();
    case TLS1_CK_AES_256_GCM_SHA384 & 0xFFFF:
      return EVP_aead_aes_256_gcm();
    case TLS1_CK_CHACHA20_POLY1305_SHA256 & 0xFFFF:
      return EVP_aead_chacha20_poly1305();
    default:
      return nullptr;
  }
}

const EVP_MD* DigestOf(const SSL_CIPHER& suite) {
  return EVP_get_digestbynid(SSL_CIPHER_get_prf_nid(&suite));
}

// HKDF-Expand-Label without a context.
bool ExpandLabel(const SSL_CIPHER& suite, absl::Span<const uint8_t> secret, absl::string_view label,
                 absl::Span<uint8_t> out) {
  constexpr absl::string_view kPrefix = "tls13 ";
  uint8_t info[32] = {0, static_cast<uint8_t>(out.size()),
                      static_cast<uint8_t>(kPrefix.size() + label.size())};
  size_t size = 3;
  SLUICE_CHECK(size + kPrefix.size() + label.size() + 1 <= sizeof(info));
  for (const absl::string_view part : {kPrefix, label}) {
    std::memcpy(info + size, part.data(), part.size());
    size += part.size();
  }
  info[size++] = 0;  // the context's length
  return HKDF_expand(out.data(), out.size(), DigestOf(suite), secret.data(), secret.size(), info,
                     size) == 1;
}

}  // namespace

// BoringSSL leaves what a cipher has made of its key to who frees it.
RecordKeys::~RecordKeys() {
  aead_.Reset();
  OPENSSL_cleanse(aead_.get(), sizeof(EVP_AEAD_CTX));
  OPENSSL_cleanse(secret_, sizeof(secret_));
  OPENSSL_cleanse(iv_, sizeof(iv_));
}

bool RecordKeys::Set(const SSL_CIPHER& suite, absl::Span<const uint8_t> secret, uint64_t sequence) {
  if (AeadOf(suite) == nullptr || secret.size() != EVP_MD_size(DigestOf(suite))) return false;
  suite_ = &suite;
  secret_size_ = static_cast<uint8_t>(secret.size());
  std::memcpy(secret_, secret.data(), secret.size());
  sequence_ = sequence;
  return Derive();
}

bool RecordKeys::Update() {
  const absl::Span<uint8_t> secret(secret_, secret_size_);
  uint8_t next[kMaxSecretBytes];
  const bool done = ExpandLabel(*suite_, secret, "traffic upd", {next, secret_size_});
  std::memcpy(secret_, next, secret_size_);
  OPENSSL_cleanse(next, sizeof(next));
  sequence_ = 0;
  return done && Derive();
}

bool RecordKeys::Derive() {
  const EVP_AEAD* const aead = AeadOf(*suite_);
  uint8_t key[EVP_AEAD_MAX_KEY_LENGTH];
  const size_t key_size = EVP_AEAD_key_length(aead);
  const absl::Span<const uint8_t> secret(secret_, secret_size_);
  aead_.Reset();
  const bool done = ExpandLabel(*suite_, secret, "key", {key, key_size}) &&
                    ExpandLabel(*suite_, secret, "iv", {iv_, kNonceBytes}) &&
                    EVP_AEAD_CTX_init(aead_.get(), aead, key, key_size, kTagBytes, nullptr) == 1;
  OPENSSL_cleanse(key, sizeof(key));
  return done;
}

bool RecordKeys::NextNonce(uint8_t* nonce) {
  if (sequence_ == std::numeric_limits<uint64_t>::max()) return false;
  std::memcpy(nonce, iv_, kNonceBytes);
  for (size_t i = 0; i < sizeof(sequence_); ++i)
    nonce[kNonceBytes - 1 - i] ^= static_cast<uint8_t>(sequence_ >> (8 * i));
  return true;
}

bool RecordKeys::Seal(uint8_t type, absl::Span<const uint8_t> bytes, uint8_t* out) {
  uint8_t nonce[kNonceBytes];
  if (!NextNonce(nonce)) return false;
  const size_t sealed = bytes.size() + 1 + kTagBytes;
  out[0] = SSL3_RT_APPLICATION_DATA;
  out[1] = 3;
  out[2] = 3;
  out[3] = static_cast<uint8_t>(sealed >> 8);
  out[4] = static_cast<uint8_t>(sealed);
  uint8_t* const body = out + kHeaderBytes;
  size_t tag_size = 0;
  if (EVP_AEAD_CTX_seal_scatter(aead_.get(), body, body + bytes.size(), &tag_size, 1 + kTagBytes,
                                nonce, kNonceBytes, bytes.data(), bytes.size(), &type, 1, out,
                                kHeaderBytes) != 1) {
    return false;
  }
  ++sequence_;
  return true;
}

bool RecordKeys::Open(absl::Span<const uint8_t> record, uint8_t* out) {
  uint8_t nonce[kNonceBytes];
  if (!NextNonce(nonce)) return false;
  const absl::Span<const uint8_t> sealed = record.subspan(kHeaderBytes);
  const size_t size = sealed.size() - kTagBytes;
  if (EVP_AEAD_CTX_open_gather(aead_.get(), out, nonce, kNonceBytes, sealed.data(), size,
                               sealed.data() + size, kTagBytes, record.data(), kHeaderBytes) != 1) {
    return false;
  }
  ++sequence_;
  return true;
}

}  // namespace sluice::tls::internal
