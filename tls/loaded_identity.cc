#include "sluice/tls/loaded_identity.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "openssl/bytestring.h"
#include "openssl/ec.h"
#include "openssl/ec_key.h"
#include "openssl/err.h"
#include "openssl/evp.h"
#include "openssl/nid.h"
#include "openssl/ssl.h"
#include "openssl/x509.h"
#include "sluice/tls/certificate.h"
#include "sluice/tls/certificate_facts.h"
#include "sluice/tls/internal/error.h"
#include "sluice/tls/internal/pem.h"

namespace sluice::tls::internal {
namespace {

void SetSignatures(EVP_PKEY& key, LoadedIdentity& identity) {
  switch (EVP_PKEY_id(&key)) {
    case EVP_PKEY_ED25519:
      identity.authentication = NID_auth_ecdsa;
      identity.tls12_signatures = identity.tls13_signatures = {SSL_SIGN_ED25519};
      return;
    case EVP_PKEY_RSA:
      identity.authentication = NID_auth_rsa;
      identity.tls13_signatures = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA384,
                                   SSL_SIGN_RSA_PSS_RSAE_SHA512};
      identity.tls12_signatures = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA384,
                                   SSL_SIGN_RSA_PSS_RSAE_SHA512, SSL_SIGN_RSA_PKCS1_SHA256,
                                   SSL_SIGN_RSA_PKCS1_SHA384,    SSL_SIGN_RSA_PKCS1_SHA512};
      return;
    default:
      break;
  }
  identity.authentication = NID_auth_ecdsa;
  identity.tls12_signatures = {SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384,
                               SSL_SIGN_ECDSA_SECP521R1_SHA512};
  const EC_KEY* const ec = EVP_PKEY_get0_EC_KEY(&key);
  switch (ec == nullptr ? NID_undef : EC_GROUP_get_curve_name(EC_KEY_get0_group(ec))) {
    case NID_X9_62_prime256v1:
      identity.tls12_group = SSL_CURVE_SECP256R1;
      identity.tls13_signatures = {SSL_SIGN_ECDSA_SECP256R1_SHA256};
      break;
    case NID_secp384r1:
      identity.tls12_group = SSL_CURVE_SECP384R1;
      identity.tls13_signatures = {SSL_SIGN_ECDSA_SECP384R1_SHA384};
      break;
    case NID_secp521r1:
      identity.tls12_group = SSL_CURVE_SECP521R1;
      identity.tls13_signatures = {SSL_SIGN_ECDSA_SECP521R1_SHA512};
      break;
    default:
      break;
  }
}

// Measured, in microseconds: Ed25519 19, ECDSA P-256 26, P-384 455, P-521 1,220; RSA 1024 99, 2048
// 632, 3072 1,990, 4096 4,740. To the first two, the key agreement adds as much again or more.
int SigningUnits(const EVP_PKEY& key) {
  constexpr int kCheap = 1, kDear = 4, kVeryDear = 8;
  if (EVP_PKEY_id(&key) == EVP_PKEY_ED25519) return kCheap;
  const int bits = EVP_PKEY_bits(&key);
  if (EVP_PKEY_id(&key) == EVP_PKEY_RSA) return bits <= 2048 ? kDear : kVeryDear;
  if (bits <= 256) return kCheap;
  return bits <= 384 ? kDear : kVeryDear;
}

// What a client says.

bool Contains(CBS list, uint16_t wanted) {
  uint16_t value;
  while (CBS_get_u16(&list, &value) == 1) {
    if (value == wanted) return true;
  }
  return false;
}

// The list in an extension, if there is one. A broken one is as good as empty: that it is broken,
// BoringSSL will say.
std::optional<CBS> ListIn(const SSL_CLIENT_HELLO& hello, uint16_t type) {
  const uint8_t* data;
  size_t size;
  if (SSL_early_callback_ctx_extension_get(&hello, type, &data, &size) != 1) return std::nullopt;
  CBS extension, list;
  CBS_init(&extension, data, size);
  const int read = type == TLSEXT_TYPE_supported_versions
                       ? CBS_get_u8_length_prefixed(&extension, &list)
                       : CBS_get_u16_length_prefixed(&extension, &list);
  if (read != 1) CBS_init(&list, nullptr, 0);
  return list;
}

bool WillBeTls13(const SSL_CLIENT_HELLO& hello) {
  const std::optional<CBS> versions = ListIn(hello, TLSEXT_TYPE_supported_versions);
  return versions.has_value() && Contains(*versions, TLS1_3_VERSION) &&
         SSL_get_max_proto_version(hello.ssl) >= TLS1_3_VERSION;
}

// One that contexts offer, too: BoringSSL knows many more.
bool OffersSuite(const SSL_CLIENT_HELLO& hello, int key_exchange, uint32_t authentication) {
  CBS suites;
  CBS_init(&suites, hello.cipher_suites, hello.cipher_suites_len);
  uint16_t suite;
  while (CBS_get_u16(&suites, &suite) == 1) {
    const SSL_CIPHER* const cipher = SSL_get_cipher_by_value(suite);
    if (cipher != nullptr && SSL_CIPHER_is_aead(cipher) == 1 &&
        SSL_CIPHER_get_kx_nid(cipher) == key_exchange &&
        static_cast<uint32_t>(SSL_CIPHER_get_auth_nid(cipher)) == authentication) {
      return true;
    }
  }
  return false;
}

// One that does not say which signatures it knows is one of TLS 1.2 that goes by its cipher suites.
bool KnowsOneOf(const SSL_CLIENT_HELLO& hello, const std::vector<uint16_t>& signatures) {
  const std::optional<CBS> known = ListIn(hello, TLSEXT_TYPE_signature_algorithms);
  return !known.has_value() ||
         std::any_of(signatures.begin(), signatures.end(),
                     [&](uint16_t signature) { return Contains(*known, signature); });
}

// One that does not say which groups it knows takes any.
bool KnowsGroup(const SSL_CLIENT_HELLO& hello, uint16_t group) {
  const std::optional<CBS> known = ListIn(hello, TLSEXT_TYPE_supported_groups);
  return !known.has_value() || Contains(*known, group);
}

}  // namespace

absl::StatusOr<LoadedIdentity> LoadedIdentity::Load(const Identity& identity, size_t index) {
  const std::string what = absl::StrCat("identity ", index + 1);
  LoadedIdentity loaded;
  auto chain = ReadCertificates(identity.chain, absl::StrCat(what, ": chain"));
  if (!chain.ok()) return chain.status();
  loaded.chain = *std::move(chain);
  loaded.ocsp_response = identity.ocsp_response;
  loaded.private_key = identity.private_key;
  if (loaded.private_key == nullptr) {
    auto key = ReadPrivateKey(identity.key, absl::StrCat(what, ": key"));
    if (!key.ok()) return key.status();
    loaded.key = *std::move(key);
  } else if (!identity.key.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": both key and private_key are given; it has one of them"));
  }

  const bssl::UniquePtr<X509> leaf = ParseX509(*loaded.chain.front());
  const bssl::UniquePtr<EVP_PKEY> public_key(X509_get_pubkey(leaf.get()));
  if (public_key == nullptr) return TakeError(absl::StrCat(what, ": chain: public key"));
  SetSignatures(*public_key, loaded);
  if (loaded.tls13_signatures.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, ": its key is of another type than ECDSA (P-256, P-384, P-521), RSA and Ed25519"));
  }
  // What a user's key does is not done on the loop.
  loaded.signing_units = loaded.private_key == nullptr ? SigningUnits(*public_key) : 1;
  if (loaded.key != nullptr && EVP_PKEY_cmp(public_key.get(), loaded.key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": the private key does not belong to the chain's first certificate"));
  }
  absl::StatusOr<Certificate> facts = FactsOf(*leaf);
  if (!facts.ok()) return facts.status();
  for (const std::string& name : facts->dns_names)
    loaded.names.push_back(absl::AsciiStrToLower(name));
  loaded.addresses = std::move(facts->ip_addresses);
  return loaded;
}

bool LoadedIdentity::FitsClient(const SSL_CLIENT_HELLO& hello) const {
  if (WillBeTls13(hello))
    return OffersSuite(hello, NID_kx_any, NID_auth_any) && KnowsOneOf(hello, tls13_signatures);
  return OffersSuite(hello, NID_kx_ecdhe, authentication) && KnowsOneOf(hello, tls12_signatures) &&
         (tls12_group == 0 || KnowsGroup(hello, tls12_group));
}

}  // namespace sluice::tls::internal
