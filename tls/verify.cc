#include "sluice/tls/verify.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "openssl/asn1.h"
#include "openssl/bytestring.h"
#include "openssl/digest.h"
#include "openssl/err.h"
#include "openssl/evp.h"
#include "openssl/nid.h"
#include "openssl/obj.h"
#include "openssl/pool.h"
#include "openssl/ssl.h"
#include "openssl/x509.h"
#include "openssl/x509v3.h"
#include "sluice/tls/certificate.h"
#include "sluice/tls/certificate_facts.h"
#include "sluice/tls/internal/error.h"
#include "sluice/tls/internal/pem.h"

namespace sluice::tls::internal {
namespace {

// Trust roots.

absl::Status AddPem(X509_STORE& store, absl::string_view pem, absl::string_view what) {
  auto certificates = ReadCertificates(pem, what);
  if (!certificates.ok()) return certificates.status();
  for (const auto& certificate : *certificates) {
    if (X509_STORE_add_cert(&store, ParseX509(*certificate).get()) != 1) return TakeError(what);
  }
  return absl::OkStatus();
}

absl::Status AddFile(X509_STORE& store, const std::string& path) {
  const absl::StatusOr<std::string> pem = ReadFile(path);
  return pem.ok() ? AddPem(store, *pem, path) : pem.status();
}

absl::StatusOr<std::vector<std::string>> FilesIn(const std::string& folder) {
  struct CloseFolder {
    void operator()(DIR* open) const { closedir(open); }
  };
  std::unique_ptr<DIR, CloseFolder> open(opendir(folder.c_str()));
  if (open == nullptr) return absl::ErrnoToStatus(errno, folder);
  std::vector<std::string> files;
  while (const dirent* entry = readdir(open.get())) {
    std::string path = absl::StrCat(folder, "/", entry->d_name);
    struct stat about;
    if (stat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode)) files.push_back(std::move(path));
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Folders of certificates have other files in them, such as revocation lists.
absl::Status AddFolder(X509_STORE& store, const std::string& folder) {
  const absl::StatusOr<std::vector<std::string>> files = FilesIn(folder);
  if (!files.ok()) return files.status();
  bool any = false;
  for (const std::string& file : *files) {
    const absl::StatusOr<std::string> pem = ReadFile(file);
    if (!pem.ok() || pem->find("-----BEGIN CERTIFICATE-----") == std::string::npos) continue;
    if (absl::Status added = AddPem(store, *pem, file); !added.ok()) return added;
    any = true;
  }
  if (any) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(folder, ": no PEM file with a certificate in it"));
}

// Where Debian, Fedora, openSUSE, Alpine, the BSDs and macOS keep what they trust.
constexpr const char* kSystemFiles[] = {
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem", "/usr/local/share/certs/ca-root-nss.crt"};
constexpr char kSystemFolder[] = "/etc/ssl/certs";

absl::Status AddSystem(X509_STORE& store) {
  for (const char* file : kSystemFiles) {
    struct stat about;
    if (stat(file, &about) == 0) return AddFile(store, file);
  }
  if (AddFolder(store, kSystemFolder).ok()) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("this system has no trusted certificates where they are known to be (",
                   absl::StrJoin(kSystemFiles, ", "), ", ", kSystemFolder,
                   "); install its ca-certificates, or name a file"));
}

// Verification.

struct Complaint {
  int error;
  uint8_t alert;
  absl::string_view message;
};

constexpr Complaint kComplaints[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED, "it has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, SSL_AD_CERTIFICATE_EXPIRED, "it is not valid yet"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SSL_AD_UNKNOWN_CA,
     "it is self-signed and not among those that are trusted"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, SSL_AD_UNKNOWN_CA,
     "the root that it leads to is not among those that are trusted"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, SSL_AD_UNKNOWN_CA, "its issuer is unknown"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, SSL_AD_UNKNOWN_CA, "its issuer is unknown"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, SSL_AD_UNKNOWN_CA, "its issuer is unknown"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, SSL_AD_DECRYPT_ERROR, "its signature is wrong"},
    {X509_V_ERR_INVALID_PURPOSE, SSL_AD_UNSUPPORTED_CERTIFICATE, "it was made for another purpose"},
    {X509_V_ERR_CERT_REVOKED, SSL_AD_CERTIFICATE_REVOKED, "it was revoked"},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, SSL_AD_UNKNOWN_CA, "its chain is too long"},
};

std::string Describe(const X509* certificate) {
  if (certificate == nullptr) return "certificate";
  const absl::StatusOr<Certificate> facts = FactsOf(*certificate);
  if (!facts.ok()) return "certificate";
  const auto day = [](absl::Time time) {
    return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone());
  };
  return absl::StrCat("certificate \"", facts->subject, "\" of issuer \"", facts->issuer,
                      "\" (valid ", day(facts->not_before), " to ", day(facts->not_after), ")");
}

absl::Status ChainError(X509_STORE_CTX* context, uint8_t& alert) {
  const int error = X509_STORE_CTX_get_error(context);
  const std::string which = Describe(X509_STORE_CTX_get_current_cert(context));
  for (const Complaint& complaint : kComplaints) {
    if (complaint.error != error) continue;
    alert = complaint.alert;
    return absl::UnauthenticatedError(absl::StrCat(which, ": ", complaint.message));
  }
  alert = SSL_AD_CERTIFICATE_UNKNOWN;
  return absl::UnauthenticatedError(
      absl::StrCat(which, ": ", X509_verify_cert_error_string(error)));
}

absl::Status NameError(const X509& leaf, const PeerName& name) {
  std::vector<std::string> names;
  if (auto facts = FactsOf(leaf); facts.ok()) {
    names = std::move(facts->dns_names);
    names.insert(names.end(), facts->ip_addresses.begin(), facts->ip_addresses.end());
  }
  // Some certificates have hundreds.
  constexpr size_t kShown = 8;
  const bool more = names.size() > kShown;
  if (more) names.resize(kShown);
  return absl::UnauthenticatedError(absl::StrCat(
      "the certificate is not for \"", name.name, "\" but for ",
      names.empty() ? "no host at all" : absl::StrJoin(names, ", "), more ? ", ..." : ""));
}

bool IsFor(const X509& leaf, const PeerName& name) {
  X509* const certificate = const_cast<X509*>(&leaf);
  if (name.is_address) return X509_check_ip_asc(certificate, name.name.c_str(), 0) == 1;
  // The subject's common name is not a host name (RFC 6125, 6.4.4).
  return X509_check_host(certificate, name.name.data(), name.name.size(),
                         X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
}

// The digest that RSASSA-PSS names in its parameters (RFC 4055, 3.1), where it has them and they
// can be read; SHA-1, where they name none.
int PssDigest(const X509_ALGOR& algorithm) {
  int type = V_ASN1_UNDEF;
  const void* value = nullptr;
  X509_ALGOR_get0(nullptr, &type, &value, &algorithm);
  if (type != V_ASN1_SEQUENCE) return NID_undef;
  const auto* const encoded = static_cast<const ASN1_STRING*>(value);
  CBS all, parameters, digest;
  CBS_init(&all, ASN1_STRING_get0_data(encoded), static_cast<size_t>(ASN1_STRING_length(encoded)));
  int present = 0;
  constexpr unsigned kDigestTag = CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 0;
  if (CBS_get_asn1(&all, &parameters, CBS_ASN1_SEQUENCE) != 1 || CBS_len(&all) != 0 ||
      CBS_get_optional_asn1(&parameters, &digest, &present, kDigestTag) != 1) {
    return NID_undef;
  }
  if (present == 0) return NID_sha1;
  const EVP_MD* const known = EVP_parse_digest_algorithm(&digest);
  ERR_clear_error();
  return known == nullptr || CBS_len(&digest) != 0 ? NID_undef : EVP_MD_type(known);
}

// The digest that the certificate's signature is of; NID_undef for one that is not known, and for a
// signature that is of the whole, such as Ed25519's.
int SignedDigest(const X509& certificate, int signature) {
  int digest = NID_undef;
  OBJ_find_sigid_algs(signature, &digest, nullptr);
  if (signature != NID_rsassaPss) return digest;
  const X509_ALGOR* algorithm = nullptr;
  X509_get0_signature(nullptr, &algorithm, &certificate);
  return PssDigest(*algorithm);
}

// How it is signed, if by way of a digest for which others with the same signature can be made.
std::optional<std::string> WeakSignature(const X509& certificate) {
  const int signature = X509_get_signature_nid(&certificate);
  const int digest = SignedDigest(certificate, signature);
  const bool pss = signature == NID_rsassaPss;
  const bool weak = digest == NID_md4 || digest == NID_md5 || digest == NID_md5_sha1 ||
                    digest == NID_sha1 || (pss && digest == NID_undef);
  if (!weak) return std::nullopt;
  const std::string name = OBJ_nid2ln(signature);
  if (!pss) return name;
  return absl::StrCat(name, digest == NID_undef ? " and an unknown digest"
                                                : absl::StrCat(" and ", OBJ_nid2ln(digest)));
}

constexpr int kMinRsaBits = 2048;

// The path ends with the one that is trusted, by itself and not for its signature.
absl::Status CheckStrength(const STACK_OF(X509) & path) {
  for (size_t i = 0; i < sk_X509_num(&path); ++i) {
    X509* const certificate = sk_X509_value(&path, i);
    const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
    if (key != nullptr && EVP_PKEY_id(key.get()) == EVP_PKEY_RSA &&
        EVP_PKEY_bits(key.get()) < kMinRsaBits) {
      return absl::UnauthenticatedError(absl::StrCat(Describe(certificate), ": its RSA key has ",
                                                     EVP_PKEY_bits(key.get()), " bits; at least ",
                                                     kMinRsaBits, " are accepted"));
    }
    if (i + 1 == sk_X509_num(&path)) break;
    if (const std::optional<std::string> weak = WeakSignature(*certificate)) {
      return absl::UnauthenticatedError(absl::StrCat(Describe(certificate), ": it is signed with ",
                                                     *weak, "; MD5 and SHA-1 are not accepted"));
    }
  }
  return absl::OkStatus();
}

bool IsHostName(absl::string_view host) {
  constexpr size_t kMaxName = 253;
  if (host.empty() || host.size() > kMaxName || host.front() == '.') return false;
  bool after_dot = true;
  for (const char c : host) {
    if (c == '.' && after_dot) return false;
    after_dot = c == '.';
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.')
      return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<bssl::UniquePtr<X509_STORE>> LoadRoots(const TrustRoots& roots) {
  bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  absl::Status status = roots.system ? AddSystem(*store) : absl::OkStatus();
  if (!roots.pem.empty()) status.Update(AddPem(*store, roots.pem, "trusted certificates"));
  for (const std::string& file : roots.files) status.Update(AddFile(*store, file));
  for (const std::string& folder : roots.folders) status.Update(AddFolder(*store, folder));
  if (!status.ok()) return status;
  // What is trusted is an end of a chain, also where it is not its own issuer.
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
  return store;
}

absl::StatusOr<PeerName> PeerName::Parse(absl::string_view host) {
  PeerName result;
  uint8_t address[16];
  result.name = absl::AsciiStrToLower(absl::StripSuffix(host, "."));
  // A name with a zero byte in it would be an address up to there.
  result.is_address = !absl::StrContains(result.name, '\0') &&
                      (inet_pton(AF_INET, result.name.c_str(), address) == 1 ||
                       inet_pton(AF_INET6, result.name.c_str(), address) == 1);
  if (result.is_address || IsHostName(result.name)) return result;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(host), "\" is neither a host's name nor an IP address"));
}

absl::StatusOr<bssl::UniquePtr<STACK_OF(X509)>> VerifyChain(X509_STORE& roots,
                                                            const STACK_OF(CRYPTO_BUFFER) & chain,
                                                            bool server, const PeerName* name,
                                                            uint8_t& alert) {
  const bssl::UniquePtr<STACK_OF(X509)> others(sk_X509_new_null());
  bssl::UniquePtr<X509> leaf;
  for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(&chain); ++i) {
    bssl::UniquePtr<X509> certificate = ParseX509(*sk_CRYPTO_BUFFER_value(&chain, i));
    if (certificate == nullptr) {
      alert = SSL_AD_DECODE_ERROR;
      return TakeError(absl::StrCat("certificate ", i + 1));
    }
    if (i == 0) {
      leaf = std::move(certificate);
    } else {
      bssl::PushToStack(others.get(), std::move(certificate));
    }
  }
  const bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  alert = SSL_AD_INTERNAL_ERROR;
  if (X509_STORE_CTX_init(context.get(), &roots, leaf.get(), others.get()) != 1 ||
      X509_STORE_CTX_set_default(context.get(), server ? "ssl_server" : "ssl_client") != 1) {
    return TakeError("verification");
  }
  if (X509_verify_cert(context.get()) != 1) {
    absl::Status status = ChainError(context.get(), alert);
    ERR_clear_error();
    return status;
  }
  bssl::UniquePtr<STACK_OF(X509)> path(X509_STORE_CTX_get1_chain(context.get()));
  if (path == nullptr) return TakeError("verification");
  alert = SSL_AD_BAD_CERTIFICATE;
  if (absl::Status status = CheckStrength(*path); !status.ok()) return status;
  if (name != nullptr && !IsFor(*leaf, *name)) return NameError(*leaf, *name);
  return path;
}

}  // namespace sluice::tls::internal
