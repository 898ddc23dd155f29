#include "sluice/tls/testing.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "openssl/asn1.h"
#include "openssl/bio.h"
#include "openssl/bn.h"
#include "openssl/digest.h"
#include "openssl/ec_key.h"
#include "openssl/evp.h"
#include "openssl/mem.h"
#include "openssl/nid.h"
#include "openssl/pem.h"
#include "openssl/rand.h"
#include "openssl/rsa.h"
#include "openssl/x509.h"
#include "openssl/x509v3.h"
#include "sluice/core/internal/check.h"
#include "sluice/tls/internal/pem.h"
#include "sluice/tls/verify.h"

namespace sluice::tls {
namespace {

using KeyType = TestAuthority::KeyType;
using Purpose = TestAuthority::Purpose;
using Validity = TestAuthority::Validity;

bssl::UniquePtr<EVP_PKEY> NewEcKey(int curve) {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(curve));
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  SLUICE_CHECK(EC_KEY_generate_key(ec.get()) == 1 &&
               EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) == 1);
  return key;
}

bssl::UniquePtr<EVP_PKEY> NewRsaKey(int bits) {
  bssl::UniquePtr<RSA> rsa(RSA_new());
  bssl::UniquePtr<BIGNUM> exponent(BN_new());
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  SLUICE_CHECK(BN_set_word(exponent.get(), RSA_F4) == 1 &&
               RSA_generate_key_ex(rsa.get(), bits, exponent.get(), nullptr) == 1 &&
               EVP_PKEY_set1_RSA(key.get(), rsa.get()) == 1);
  return key;
}

bssl::UniquePtr<EVP_PKEY> NewEd25519Key() {
  uint8_t seed[32];
  RAND_bytes(seed, sizeof(seed));
  return bssl::UniquePtr<EVP_PKEY>(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed, sizeof(seed)));
}

bssl::UniquePtr<EVP_PKEY> NewKey(KeyType type) {
  switch (type) {
    case KeyType::kP256:
      return NewEcKey(NID_X9_62_prime256v1);
    case KeyType::kP384:
      return NewEcKey(NID_secp384r1);
    case KeyType::kRsa1024:
      return NewRsaKey(1024);
    case KeyType::kRsa2048:
      return NewRsaKey(2048);
    case KeyType::kEd25519:
      return NewEd25519Key();
  }
  return nullptr;
}

std::string Contents(BIO& bio) {
  const uint8_t* text = nullptr;
  size_t size = 0;
  SLUICE_CHECK(BIO_mem_contents(&bio, &text, &size) == 1);
  return std::string(reinterpret_cast<const char*>(text), size);
}

std::string Pem(X509& certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  SLUICE_CHECK(PEM_write_bio_X509(bio.get(), &certificate) == 1);
  return Contents(*bio);
}

std::string Pem(EVP_PKEY& key) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  SLUICE_CHECK(PEM_write_bio_PrivateKey(bio.get(), &key, nullptr, nullptr, 0, nullptr, nullptr) ==
               1);
  return Contents(*bio);
}

void SetTimes(X509& certificate, Validity validity) {
  struct Times {
    const char* from;
    const char* to;
  };
  constexpr Times kTimes[] = {{"000101000000Z", "20991231235959Z"},     // kNow
                              {"000101000000Z", "010101000000Z"},       // kPast
                              {"20980101000000Z", "20991231235959Z"}};  // kFuture
  const Times& times = kTimes[static_cast<int>(validity)];
  const bssl::UniquePtr<ASN1_TIME> from(ASN1_TIME_new());
  const bssl::UniquePtr<ASN1_TIME> to(ASN1_TIME_new());
  SLUICE_CHECK(ASN1_TIME_set_string(from.get(), times.from) == 1 &&
               ASN1_TIME_set_string(to.get(), times.to) == 1 &&
               X509_set1_notBefore(&certificate, from.get()) == 1 &&
               X509_set1_notAfter(&certificate, to.get()) == 1);
}

void AddExtension(X509& certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, &certificate, &certificate, nullptr, nullptr, 0);
  const bssl::UniquePtr<X509_EXTENSION> extension(
      X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
  SLUICE_CHECK(extension != nullptr && X509_add_ext(&certificate, extension.get(), -1) == 1);
}

const char* Usage(Purpose purpose) {
  switch (purpose) {
    case Purpose::kBoth:
      return "serverAuth,clientAuth";
    case Purpose::kServer:
      return "serverAuth";
    case Purpose::kClient:
      return "clientAuth";
    case Purpose::kCodeSigning:
      return "codeSigning";
  }
  return "";
}

std::string AlternativeNames(const std::vector<std::string>& names) {
  return absl::StrJoin(names, ",", [](std::string* out, const std::string& name) {
    const absl::StatusOr<internal::PeerName> host = internal::PeerName::Parse(name);
    absl::StrAppend(out, host.ok() && host->is_address ? "IP:" : "DNS:", name);
  });
}

// Without a signature.
bssl::UniquePtr<X509> Draft(EVP_PKEY& key, const std::string& subject, Validity validity) {
  bssl::UniquePtr<X509> certificate(X509_new());
  uint64_t serial;
  RAND_bytes(reinterpret_cast<uint8_t*>(&serial), sizeof(serial));
  SLUICE_CHECK(
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1) == 1 &&
      X509_set_pubkey(certificate.get(), &key) == 1 &&
      X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const uint8_t*>(subject.data()),
                                 static_cast<int>(subject.size()), -1, 0) == 1);
  SetTimes(*certificate, validity);
  return certificate;
}

void SignCertificate(X509& certificate, X509_NAME& issuer, EVP_PKEY& key,
                     const TestAuthority::Request& request = {}) {
  const EVP_MD* const hash = request.sha1 ? EVP_sha1() : EVP_sha256();
  const EVP_MD* const digest = EVP_PKEY_id(&key) == EVP_PKEY_ED25519 ? nullptr : hash;
  bssl::ScopedEVP_MD_CTX context;
  EVP_PKEY_CTX* options = nullptr;
  SLUICE_CHECK(X509_set_issuer_name(&certificate, &issuer) == 1 &&
               EVP_DigestSignInit(context.get(), &options, digest, nullptr, &key) == 1);
  if (request.pss) {
    constexpr int kSaltAsLongAsDigest = -1;
    SLUICE_CHECK(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
                 EVP_PKEY_CTX_set_rsa_pss_saltlen(options, kSaltAsLongAsDigest) == 1);
  }
  SLUICE_CHECK(X509_sign_ctx(&certificate, context.get()) > 0);
}

bssl::UniquePtr<X509> DraftLeaf(EVP_PKEY& key, const TestAuthority::Request& request) {
  bssl::UniquePtr<X509> certificate = Draft(key, request.subject, request.validity);
  AddExtension(*certificate, NID_basic_constraints, "critical,CA:FALSE");
  AddExtension(*certificate, NID_ext_key_usage, Usage(request.purpose));
  if (!request.names.empty())
    AddExtension(*certificate, NID_subject_alt_name, AlternativeNames(request.names));
  return certificate;
}

Identity MakeIdentity(X509& certificate, const std::string& chain, EVP_PKEY& key) {
  Identity identity;
  identity.chain = Pem(certificate) + chain;
  identity.key = Pem(key);
  return identity;
}

}  // namespace

struct TestAuthority::Impl {
  Impl(absl::string_view name, KeyType type) : key(NewKey(type)) {
    certificate = Draft(*key, std::string(name), Validity::kNow);
    AddExtension(*certificate, NID_basic_constraints, "critical,CA:TRUE");
    AddExtension(*certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  }

  bssl::UniquePtr<EVP_PKEY> key;
  bssl::UniquePtr<X509> certificate;
};

TestAuthority::TestAuthority(absl::string_view name, KeyType key)
    : impl_(std::make_unique<Impl>(name, key)) {
  SignCertificate(*impl_->certificate, *X509_get_subject_name(impl_->certificate.get()),
                  *impl_->key);
  pem_ = Pem(*impl_->certificate);
}

TestAuthority::TestAuthority(std::unique_ptr<Impl> impl, std::string chain)
    : impl_(std::move(impl)), pem_(Pem(*impl_->certificate)), chain_(std::move(chain)) {}

TestAuthority::~TestAuthority() = default;

TrustRoots TestAuthority::roots() const {
  TrustRoots roots;
  roots.pem = pem_;
  return roots;
}

Identity TestAuthority::Issue(const Request& request) const {
  const bssl::UniquePtr<EVP_PKEY> key = NewKey(request.key);
  const bssl::UniquePtr<X509> leaf = DraftLeaf(*key, request);
  SignCertificate(*leaf, *X509_get_subject_name(impl_->certificate.get()), *impl_->key, request);
  return MakeIdentity(*leaf, chain_, *key);
}

Identity TestAuthority::SelfSigned(const Request& request) {
  const bssl::UniquePtr<EVP_PKEY> key = NewKey(request.key);
  const bssl::UniquePtr<X509> leaf = DraftLeaf(*key, request);
  SignCertificate(*leaf, *X509_get_subject_name(leaf.get()), *key, request);
  return MakeIdentity(*leaf, "", *key);
}

absl::StatusOr<std::string> TestAuthority::SignMessage(absl::string_view key,
                                                       SignatureAlgorithm algorithm,
                                                       absl::string_view message) {
  auto parsed = internal::ReadPrivateKey(key, "key");
  if (!parsed.ok()) return parsed.status();
  const EVP_MD* const digest =
      algorithm == SignatureAlgorithm::kEcdsaP256Sha256 ? EVP_sha256() : nullptr;
  bssl::ScopedEVP_MD_CTX context;
  const auto* const bytes = reinterpret_cast<const uint8_t*>(message.data());
  uint8_t signature[128];
  size_t size = sizeof(signature);
  SLUICE_CHECK(EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, parsed->get()) == 1 &&
               EVP_DigestSign(context.get(), signature, &size, bytes, message.size()) == 1);
  return std::string(reinterpret_cast<const char*>(signature), size);
}

std::unique_ptr<TestAuthority> TestAuthority::Intermediate(absl::string_view name) const {
  auto impl = std::make_unique<Impl>(name, KeyType::kP256);
  SignCertificate(*impl->certificate, *X509_get_subject_name(impl_->certificate.get()),
                  *impl_->key);
  std::string chain = Pem(*impl->certificate) + chain_;
  return std::unique_ptr<TestAuthority>(new TestAuthority(std::move(impl), std::move(chain)));
}

}  // namespace sluice::tls
