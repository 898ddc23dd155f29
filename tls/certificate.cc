#include "sluice/tls/certificate.h"

#include <arpa/inet.h>

#include <cstdint>
#include <ctime>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "openssl/asn1.h"
#include "openssl/bio.h"
#include "openssl/bn.h"
#include "openssl/ec.h"
#include "openssl/ec_key.h"
#include "openssl/err.h"
#include "openssl/evp.h"
#include "openssl/mem.h"
#include "openssl/nid.h"
#include "openssl/pool.h"
#include "openssl/sha.h"
#include "openssl/x509.h"
#include "openssl/x509v3.h"
#include "sluice/tls/certificate_facts.h"
#include "sluice/tls/internal/error.h"

namespace sluice::tls {
namespace {

std::string NameOf(X509_NAME* name) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  const uint8_t* text = nullptr;
  size_t size = 0;
  if (BIO_mem_contents(bio.get(), &text, &size) != 1) return "";
  return std::string(reinterpret_cast<const char*>(text), size);
}

std::string SerialOf(X509& x509) {
  const bssl::UniquePtr<BIGNUM> number(ASN1_INTEGER_to_BN(X509_get_serialNumber(&x509), nullptr));
  if (number == nullptr) return "";
  const bssl::UniquePtr<char> text(BN_bn2hex(number.get()));
  return text == nullptr ? "" : text.get();
}

absl::Time TimeOf(const ASN1_TIME* time) {
  int days = 0;
  int seconds = 0;
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  if (ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return absl::InfinitePast();
  return absl::UnixEpoch() + days * absl::Hours(24) + absl::Seconds(seconds);
}

std::string AddressOf(const ASN1_OCTET_STRING& address) {
  char text[INET6_ADDRSTRLEN] = "";
  const int size = ASN1_STRING_length(&address);
  if (size != 4 && size != 16) return "";
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(&address), text, sizeof(text));
  return text;
}

void ReadNames(X509& x509, Certificate& result) {
  const bssl::UniquePtr<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&x509, NID_subject_alt_name, nullptr, nullptr)));
  for (size_t i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME& name = *sk_GENERAL_NAME_value(names.get(), i);
    if (name.type == GEN_DNS) {
      result.dns_names.emplace_back(
          reinterpret_cast<const char*>(ASN1_STRING_get0_data(name.d.dNSName)),
          static_cast<size_t>(ASN1_STRING_length(name.d.dNSName)));
    } else if (name.type == GEN_IPADD) {
      result.ip_addresses.push_back(AddressOf(*name.d.iPAddress));
    }
  }
}

std::string CurveOf(EVP_PKEY& key) {
  const EC_KEY* const ec = EVP_PKEY_get0_EC_KEY(&key);
  switch (ec == nullptr ? NID_undef : EC_GROUP_get_curve_name(EC_KEY_get0_group(ec))) {
    case NID_X9_62_prime256v1:
      return "ECDSA P-256";
    case NID_secp384r1:
      return "ECDSA P-384";
    case NID_secp521r1:
      return "ECDSA P-521";
    default:
      return "ECDSA";
  }
}

std::string KeyOf(X509& x509) {
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(&x509));
  switch (key == nullptr ? EVP_PKEY_NONE : EVP_PKEY_id(key.get())) {
    case EVP_PKEY_EC:
      return CurveOf(*key);
    case EVP_PKEY_RSA:
      return absl::StrCat("RSA ", EVP_PKEY_bits(key.get()));
    case EVP_PKEY_ED25519:
      return "Ed25519";
    default:
      return "unknown";
  }
}

std::string Sha256Of(absl::string_view bytes) {
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

Certificate Read(X509& x509, absl::string_view der) {
  Certificate result;
  result.subject = NameOf(X509_get_subject_name(&x509));
  result.issuer = NameOf(X509_get_issuer_name(&x509));
  result.serial = SerialOf(x509);
  result.not_before = TimeOf(X509_get0_notBefore(&x509));
  result.not_after = TimeOf(X509_get0_notAfter(&x509));
  ReadNames(x509, result);
  result.key = KeyOf(x509);
  result.sha256 = Sha256Of(der);
  result.der = std::string(der);
  ERR_clear_error();  // of parts that could not be read and are empty
  return result;
}

}  // namespace

absl::StatusOr<Certificate> Certificate::Parse(absl::string_view der) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(der.data());
  const auto* const end = bytes + der.size();
  const bssl::UniquePtr<X509> x509(
      d2i_X509(nullptr, &bytes, static_cast<long>(der.size())));  // NOLINT
  if (x509 == nullptr || bytes != end) return internal::TakeError("certificate");
  return Read(*x509, der);
}

namespace internal {

absl::StatusOr<Certificate> FactsOf(const X509& certificate) {
  X509& x509 = const_cast<X509&>(certificate);  // BoringSSL reads it, too, through this type
  uint8_t* der = nullptr;
  const int size = i2d_X509(&x509, &der);
  if (size < 0) return TakeError("certificate");
  const bssl::UniquePtr<uint8_t> owned(der);
  return Read(x509, {reinterpret_cast<const char*>(der), static_cast<size_t>(size)});
}

absl::StatusOr<Certificate> FactsOf(const CRYPTO_BUFFER& der) {
  return Certificate::Parse(
      {reinterpret_cast<const char*>(CRYPTO_BUFFER_data(&der)), CRYPTO_BUFFER_len(&der)});
}

}  // namespace internal

}  // namespace sluice::tls
