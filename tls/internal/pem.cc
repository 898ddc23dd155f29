#include "sluice/tls/internal/pem.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "openssl/bio.h"
#include "openssl/err.h"
#include "openssl/evp.h"
#include "openssl/mem.h"
#include "openssl/pem.h"
#include "openssl/pool.h"
#include "openssl/x509.h"
#include "sluice/tls/internal/error.h"

namespace sluice::tls::internal {
namespace {

// A chain or a bundle of roots is far below; a device or a wrong path may be without end.
constexpr size_t kMaxFileBytes = 16 * 1024 * 1024;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// Of a file that may be a key: nothing of it is left on the stack.
struct Piece {
  ~Piece() { OPENSSL_cleanse(bytes, sizeof(bytes)); }
  char bytes[16 * 1024];
};

bssl::UniquePtr<BIO> Over(absl::string_view text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Instead of asking on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

bool IsPrivateKey(absl::string_view name) {
  return name == PEM_STRING_PKCS8INF || name == PEM_STRING_PKCS8 || name == PEM_STRING_EC ||
         name == PEM_STRING_RSA || name == PEM_STRING_DSA;
}

// Whether the first private key in `pem` is encrypted, by PKCS #8 or in the older way, by a header
// (RFC 1421, 4.6.1.1). What stands around its block says nothing.
bool IsEncrypted(absl::string_view pem) {
  const bssl::UniquePtr<BIO> bio = Over(pem);
  bool encrypted = false;
  for (bool found = false; !found;) {
    char* name = nullptr;
    char* header = nullptr;
    uint8_t* der = nullptr;
    long size = 0;  // NOLINT: PEM's type
    if (PEM_read_bio(bio.get(), &name, &header, &der, &size) != 1) break;
    const bssl::UniquePtr<char> owned_name(name), owned_header(header);
    const bssl::UniquePtr<uint8_t> owned_der(der);
    found = IsPrivateKey(name);
    encrypted = found && (absl::string_view(name) == PEM_STRING_PKCS8 ||
                          absl::StartsWith(header, "Proc-Type: 4,ENCRYPTED"));
  }
  ERR_clear_error();
  return encrypted;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(absl::string_view path) {
  const std::string name(path);
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(name.c_str(), "re"));
  if (file == nullptr) return absl::ErrnoToStatus(errno, name);
  std::setvbuf(file.get(), nullptr, _IONBF, 0);  // no copy in a buffer of its own
  std::string text;
  Piece piece;
  while (const size_t size = std::fread(piece.bytes, 1, sizeof(piece.bytes), file.get())) {
    text.append(piece.bytes, size);
    if (text.size() > kMaxFileBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": longer than ", kMaxFileBytes, " bytes"));
    }
  }
  if (std::ferror(file.get()) != 0) return absl::ErrnoToStatus(errno, name);
  return text;
}

absl::StatusOr<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> ReadCertificates(
    absl::string_view pem, absl::string_view what) {
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> certificates;
  const bssl::UniquePtr<BIO> bio = Over(pem);
  uint8_t* der = nullptr;
  long size = 0;  // NOLINT: PEM's type
  while (PEM_bytes_read_bio(&der, &size, nullptr, PEM_STRING_X509, bio.get(), &NoPassword,
                            nullptr) == 1) {
    const bssl::UniquePtr<uint8_t> owned(der);
    certificates.emplace_back(CRYPTO_BUFFER_new(der, static_cast<size_t>(size), nullptr));
    if (ParseX509(*certificates.back()) == nullptr) {
      return TakeError(absl::StrCat(what, ": certificate ", certificates.size()));
    }
  }
  const uint32_t error = ERR_peek_last_error();
  const bool clean =
      ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (!clean) return TakeError(absl::StrCat(what, ": PEM"));
  ERR_clear_error();
  if (certificates.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": no certificate (\"-----BEGIN CERTIFICATE-----\") in it"));
  }
  return certificates;
}

absl::StatusOr<bssl::UniquePtr<EVP_PKEY>> ReadPrivateKey(absl::string_view pem,
                                                         absl::string_view what) {
  if (absl::string_view::npos == pem.find("PRIVATE KEY-----")) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": no private key (\"-----BEGIN PRIVATE KEY-----\") in it"));
  }
  if (IsEncrypted(pem)) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": the private key is encrypted; write it without a password"));
  }
  const bssl::UniquePtr<BIO> bio = Over(pem);
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassword, nullptr));
  if (key == nullptr) return TakeError(absl::StrCat(what, ": private key"));
  return key;
}

bssl::UniquePtr<X509> ParseX509(CRYPTO_BUFFER& certificate) {
  return bssl::UniquePtr<X509>(X509_parse_from_buffer(&certificate));
}

}  // namespace sluice::tls::internal
